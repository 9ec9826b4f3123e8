// The studio for whoever uses the keyboard, hears the page, wants it large, or wants it calm.

import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { Browser } from "./browser.ts";
import { Program } from "./program.ts";
import { Studio } from "./studio.ts";

let program: Program;
let browser: Browser;

beforeAll(async () => {
    [program, browser] = await Promise.all([Program.demo(), Browser.start()]);
});
afterEach(() => browser.closePages());
afterAll(() => Promise.all([program.stop(), browser.stop()]));

/** What has the focus: its name, and whether one sees that it has it. */
function focused(page: Page): Promise<{ name: string; isSeen: boolean }> {
    return page.evaluate(() => {
        const own = document.activeElement as HTMLElement;
        const label = own instanceof HTMLInputElement && own.type === "radio" ? own.closest("label") : null;
        // A radio button is invisible itself: what stands for it is outlined.
        const { outlineStyle, outlineWidth } = getComputedStyle(label?.querySelector("span") ?? own);
        const name = own.getAttribute("aria-label") ?? label?.textContent ?? (own instanceof HTMLInputElement ? own.id : own.id || own.textContent) ?? "";
        return { name: name.trim(), isSeen: outlineStyle !== "none" && Number.parseFloat(outlineWidth) >= 1 };
    });
}

it("is used by keyboard alone, in the order in which it is read, and the focus is always seen", async () => {
    const { page } = await Studio.open(await browser.page(), program.url);
    const names: string[] = [];
    for (let step = 0; step < 17; step += 1) {
        await page.keyboard.press("Tab");
        const { name, isSeen } = await focused(page);
        expect(isSeen, `${name} is outlined`).toBe(true);
        names.push(name);
    }
    expect(names).toEqual([
        "To the prompt", "Rushes, to the beginning", "Ada", "Make it dark", "Under the hood", "prompt",
        "Golden lake", "Northern lights", "Neon rain", "Ringed giant", "16:9", "Standard", "seconds", "seed", "Roll another seed",
        "Generate", "Attach your model →",
    ]);
    // A window over the page keeps the focus in, and gives it back.
    await page.keyboard.press("Enter");
    await page.getByRole("dialog").waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    expect((await focused(page)).name).toBe("Attach your model →");
    // So does the drawer, which a letter opens.
    await page.keyboard.press("u");
    await page.getByTestId("drawer").waitFor();
    await page.getByTestId("drawer").getByLabel("Close").focus();
    await page.keyboard.press("Enter");
    await page.getByTestId("drawer").waitFor({ state: "detached" });
    expect((await focused(page)).name).toBe("Under the hood");
    await page.keyboard.press("/");
    expect((await focused(page)).name).toBe("prompt");
    await page.keyboard.type("A storm at sea, from the keyboard");
    await page.locator("#seconds").press("End");
    await page.locator("#prompt").press("Enter");
    await page.getByTestId("cancel").waitFor();
    await page.getByTestId("cancel").press("Enter");
    await page.getByTestId("retry").waitFor();
    // The button cannot be pressed before the cancel was answered.
    await expect.poll(async () => (await focused(page)).name).toBe("Try again");
    expect(browser.errors()).toEqual([]);
}, 120_000);

it("says each stage once and politely, names every bar, and leaves nothing without a name", async () => {
    const studio = await Studio.open(await browser.page(), program.url);
    const { page } = studio;
    await page.evaluate(() => {
        const said: string[] = [];
        Object.assign(window, { said });
        new MutationObserver(() => {
            const text = document.querySelector(".stage > [role=status]")?.textContent;
            if (text && said.at(-1) !== text) said.push(text);
        }).observe(document, { subtree: true, childList: true, characterData: true });
    });
    await studio.generate("a lake at dawn, said aloud", 3);
    await studio.state("Generating frames");
    const bars = await page.locator(".stage [role=progressbar]").evaluateAll((all) => all.map((bar) => [bar.getAttribute("aria-label"), Number(bar.getAttribute("aria-valuenow"))]));
    expect(bars.map(([name]) => name)).toEqual(["The whole film", "Prompt analysis", "Generating frames", "Interpolating", "Upscaling", "Encoding"]);
    expect(bars.every(([, now]) => Number(now) >= 0 && Number(now) <= 100)).toBe(true);
    const nameless = (snapshot: string) => snapshot.split("\n").filter((line) => /^\s*- (button|link|textbox|slider|radio|progressbar|img|region|dialog)(?! ")/.test(line));
    expect(nameless(await page.locator("body").ariaSnapshot())).toEqual([]);
    await studio.film();
    expect(nameless(await page.locator("body").ariaSnapshot())).toEqual([]);
    const said = await page.evaluate(() => (window as unknown as { said: string[] }).said);
    expect(said.at(-1)).toBe("Your film is ready.");
    expect(new Set(said).size, said.join(" ")).toBe(said.length);
    expect(said.length).toBeGreaterThanOrEqual(5);
    expect(said.join(" ")).not.toMatch(/%|\d/);
});

it("fits a window of half the size, as at 200 per cent, and one of 320 pixels, drawer and all", async () => {
    const studio = await Studio.open(await browser.page(), program.url);
    const { page } = studio;
    await studio.generate("a lake that is looked at closely", 1);
    await studio.film();
    await studio.openDrawer();
    for (const size of [{ width: 640, height: 430 }, { width: 320, height: 560 }]) {
        await page.setViewportSize(size);
        const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        expect(wider, `nothing is wider than ${size.width} pixels`).toBeLessThanOrEqual(0);
        for (const place of ["submit", "cut", "download"]) {
            await studio.at(place).scrollIntoViewIfNeeded();
            const box = await studio.at(place).boundingBox();
            expect(box !== null && box.x >= 0 && box.x + box.width <= size.width, `${place} is reached at ${size.width}`).toBe(true);
        }
    }
});

it("keeps still for whoever wants it calm", async () => {
    const page = await browser.page();
    await page.emulateMedia({ reducedMotion: "reduce" });
    const studio = await Studio.open(page, program.url);
    await studio.generate("a lake without a wave", 2);
    await studio.state("Generating frames");
    await page.waitForFunction(() => document.getAnimations().every(({ playState }) => playState !== "running"));
    expect(await page.evaluate(() => document.getAnimations().filter(({ effect }) => effect?.getTiming().iterations === Infinity).length)).toBe(0);
    await studio.film();
    await page.getByLabel("Play", { exact: true }).waitFor();
    expect(await studio.at("film").evaluate((film: HTMLVideoElement) => [film.paused, film.loop])).toEqual([true, false]);
});

it("is dark or light as the system says, before any script runs, and as it was chosen after that", async () => {
    const page = await browser.page();
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await page.route("**/*.js", (route) => route.abort());
    const seen: string[] = [];
    for (const colorScheme of ["light", "dark"] as const) {
        await page.emulateMedia({ colorScheme });
        await page.goto(program.url);
        seen.push(await ground());
    }
    expect(seen).toEqual(["rgb(246, 245, 242)", "rgb(11, 11, 12)"]);
    await page.unroute("**/*.js");
    await page.goto(program.url);
    await page.getByLabel("Make it light").click();
    expect(await ground()).toBe("rgb(246, 245, 242)");
    expect(await page.locator("meta[name=theme-color]").first().getAttribute("content")).toBe("rgb(246, 245, 242)");
    await page.reload();
    await page.getByLabel("Make it dark").waitFor();
    expect(await ground()).toBe("rgb(246, 245, 242)");
    await page.evaluate(() => localStorage.clear());
});
