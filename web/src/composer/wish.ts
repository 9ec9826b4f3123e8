// What is asked for, and how it becomes a submission. Pure.

import type { Submission } from "@rushes/client";

export const SHAPES = ["16:9", "1:1", "9:16"] as const;
export type Shape = (typeof SHAPES)[number];
export const QUALITIES = ["Draft", "Standard", "HD"] as const;
export type Quality = (typeof QUALITIES)[number];

/** Length of a film, in seconds. The server takes more; longer ones are for programs. */
export const SECONDS_MIN = 1;
export const SECONDS_MAX = 12;
/** What the server's schema takes: integers that JSON carries exactly. A dice with six digits is easier to read out. */
export const SEED_MAX = Number.MAX_SAFE_INTEGER;
const DICE = 1_000_000;
const PROMPT_MAX = 4_000;

/** Lines of the short side, doubled for no quality: a film of 480 lines is made in seconds on two cores. */
const LINES: Readonly<Record<Quality, number>> = { Draft: 360, Standard: 480, HD: 720 };

export interface Wish {
    readonly prompt: string;
    readonly shape: Shape;
    readonly quality: Quality;
    readonly seconds: number;
    /** As it is typed. */
    readonly seed: string;
    /** Typed by hand, and therefore kept after a submission. */
    readonly isSeedKept: boolean;
}

export interface Size {
    readonly width: number;
    readonly height: number;
}

export function sizeOf(shape: Shape, quality: Quality): Size {
    const short = LINES[quality];
    // Encoders want even numbers.
    const long = Math.round((short * 16) / 9 / 2) * 2;
    switch (shape) {
        case "16:9":
            return { width: long, height: short };
        case "1:1":
            return { width: short, height: short };
        case "9:16":
            return { width: short, height: long };
    }
}

/** What keeps it from being submitted, in a sentence; null when nothing does. */
export function problemOf(wish: Wish): string | null {
    if (wish.prompt.trim() === "") return "Write a prompt first.";
    if ([...wish.prompt].length > PROMPT_MAX) return `The prompt has ${[...wish.prompt].length} characters; ${PROMPT_MAX} are the most.`;
    if (!/^\d+$/.test(wish.seed) || Number(wish.seed) > SEED_MAX) return `The seed is a whole number from 0 to ${SEED_MAX}.`;
    return null;
}

export function submissionOf(wish: Wish): Submission {
    const { width, height } = sizeOf(wish.shape, wish.quality);
    return { prompt: wish.prompt.trim(), params: { width, height, seconds: wish.seconds, seed: Number(wish.seed) } };
}

export function rollSeed(random: () => number = Math.random): string {
    return String(Math.floor(random() * DICE));
}
