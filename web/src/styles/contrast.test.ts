// Whether text can be read: contrast as WCAG 2.2 counts it, out of the palette itself, in the light and in the dark.

import { describe, expect, it } from "vitest";
import css from "./base.css?raw";

/** Red, green and blue from 0 to 255, and how much it covers. */
type Colour = readonly [red: number, green: number, blue: number, alpha: number];

const PALETTES = ["light", "dark"] as const;

/** The value of a custom property in one of the palettes. */
function colour(name: string, palette: (typeof PALETTES)[number]): Colour {
    const all = [...css.matchAll(new RegExp(`^ *--${name}: (.+);$`, "gm"))];
    expect(all, `--${name} stands once`).toHaveLength(1);
    const [, light, dark] = /^light-dark\((.+), (#\w+|rgb\(.+\))\)$/.exec(all[0]?.[1] ?? "") ?? [];
    return parse((palette === "light" ? light : dark) ?? "");
}

function parse(text: string): Colour {
    const hex = /^#(\w{3}|\w{6})$/.exec(text)?.[1];
    if (hex !== undefined) {
        const digits = hex.length === 3 ? [...hex].map((digit) => digit + digit) : (hex.match(/../g) as string[]);
        const [red, green, blue] = digits.map((pair) => Number.parseInt(pair, 16)) as [number, number, number];
        return [red, green, blue, 1];
    }
    const [, red, green, blue, alpha] = /^rgb\((\d+) (\d+) (\d+) \/ ([\d.]+)%\)$/.exec(text) ?? [];
    if (alpha === undefined) throw new Error(`no colour that is known here: ${text}`);
    return [Number(red), Number(green), Number(blue), Number(alpha) / 100];
}

/** What one colour makes of the one behind it. */
function over(front: Colour, back: Colour): Colour {
    const mix = (at: 0 | 1 | 2) => front[at] * front[3] + back[at] * (1 - front[3]);
    return [mix(0), mix(1), mix(2), 1];
}

function luminance([red, green, blue]: Colour): number {
    const [r, g, b] = [red, green, blue].map((value) => {
        const share = value / 255;
        return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    }) as [number, number, number];
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(one: Colour, other: Colour): number {
    const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a) as [number, number];
    return (light + 0.05) / (dark + 0.05);
}

/** What text stands on; a soft colour lies on what comes behind the sign. */
const TEXTS: readonly (readonly [text: string, grounds: readonly string[]])[] = [
    ["text", ["bg", "surface", "raised", "bad-soft/bg", "bad-soft/surface", "accent-soft/surface"]],
    ["muted", ["bg", "surface", "raised", "accent-soft/surface"]],
    ["accent", ["bg", "surface", "accent-soft/surface"]],
    ["bad", ["bg", "surface", "bad-soft/bg", "bad-soft/surface", "bad-soft/raised"]],
    ["on-fill", ["fill", "fill-strong"]],
];

function ground(name: string, palette: (typeof PALETTES)[number]): Colour {
    const [front = "", back] = name.split("/");
    return back === undefined ? colour(front, palette) : over(colour(front, palette), colour(back, palette));
}

describe.each(PALETTES)("in the %s", (palette) => {
    it.each(TEXTS.flatMap(([text, grounds]) => grounds.map((on) => [text, on] as const)))("%s on %s has a contrast of 4.5 or more", (text, on) => {
        expect(contrast(colour(text, palette), ground(on, palette))).toBeGreaterThanOrEqual(4.5);
    });

    it.each(["bg", "surface", "raised"])("what has the focus is outlined with 3 or more against %s", (on) => {
        expect(contrast(colour("accent", palette), ground(on, palette))).toBeGreaterThanOrEqual(3);
    });
});

it("counts as the standard does", () => {
    expect(contrast(parse("#000"), parse("#fff"))).toBeCloseTo(21, 5);
    expect(contrast(parse("#767676"), parse("#fff"))).toBeCloseTo(4.54, 2);
});
