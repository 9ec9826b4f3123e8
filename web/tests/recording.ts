// Records the studio for the README: the page of the browser tests, used as they use it, with a pointer drawn on it. The
// pictures and the times between them go to the folder in STUDIO_PICTURES; `scripts/recording` makes one picture of them.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Locator } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Browser } from "./browser.ts";
import { Network } from "./network.ts";
import { Program } from "./program.ts";
import { Studio } from "./studio.ts";

const FOLDER = process.env.STUDIO_PICTURES ?? "";
/** Long enough that the cut falls into the drawing of frames, on a machine that has nothing else to do. */
const SECONDS = 6;
/** How long a person looks before doing the next thing. */
const LOOK_MS = 700;

let program: Program;
let browser: Browser;
let network: Network;

beforeAll(async () => {
    mkdirSync(FOLDER, { recursive: true });
    [program, browser] = await Promise.all([Program.demo(), Browser.start({ width: 1360, height: 860 })]);
    network = await Network.to(program.url);
});
afterAll(async () => {
    network.stop();
    await Promise.all([program.stop(), browser.stop()]);
});

it("records a film on its way", async () => {
    const page = await browser.page();
    await page.emulateMedia({ colorScheme: "dark" });
    await page.addInitScript(() => {
        addEventListener("DOMContentLoaded", () => {
            const pointer = document.createElement("div");
            pointer.style.cssText = "position:fixed;z-index:9999;width:22px;height:22px;margin:-11px;border-radius:50%;pointer-events:none;background:#fff8;border:2px solid #fff;box-shadow:0 0 8px #0008;left:-50px";
            document.body.append(pointer);
            addEventListener("mousemove", ({ clientX, clientY }) => Object.assign(pointer.style, { left: `${clientX}px`, top: `${clientY}px` }));
            addEventListener("mousedown", () => (pointer.style.background = "#fff"));
            addEventListener("mouseup", () => (pointer.style.background = "#fff8"));
        });
    });
    const studio = await Studio.open(page, network.url);
    await page.locator("#seconds").fill(String(SECONDS));
    await page.locator("#seconds").blur();
    await page.waitForTimeout(LOOK_MS);

    const times: number[] = [];
    const session = await page.context().newCDPSession(page);
    session.on("Page.screencastFrame", ({ data, metadata, sessionId }) => {
        writeFileSync(join(FOLDER, `${String(times.length).padStart(5, "0")}.jpg`), Buffer.from(data, "base64"));
        times.push((metadata.timestamp ?? Date.now() / 1_000) * 1_000);
        void session.send("Page.screencastFrameAck", { sessionId });
    });
    await session.send("Page.startScreencast", { format: "jpeg", quality: 92, everyNthFrame: 4 });
    const click = async (what: Locator) => {
        const box = await what.boundingBox({ timeout: LOOK_MS });
        if (box === null) throw new Error(`${what} is not on the screen`);
        await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2, { steps: 12 });
        await page.waitForTimeout(LOOK_MS / 2);
        await page.mouse.down();
        await page.waitForTimeout(100);
        await page.mouse.up();
    };
    await click(studio.at("submit"));
    await studio.state("Generating frames");
    await page.waitForFunction(() => window.recorded.drawn.length > 12);
    await page.waitForTimeout(2 * LOOK_MS);
    await click(studio.at("drawer-toggle"));
    await page.waitForTimeout(2 * LOOK_MS);
    // The way back stays closed for a moment, so that there is something to refill.
    await click(studio.at("cut"));
    network.cut();
    await page.waitForTimeout(2_200);
    network.mend();
    // Whoever is impatient need not wait for the next try, unless that came meanwhile.
    await click(page.getByRole("button", { name: "Try now" })).catch(() => {});
    await page.waitForFunction(() => document.querySelector("[data-testid=event-row][data-refilled=true]") !== null);
    await studio.film();
    await page.waitForTimeout(SECONDS * 1_000);
    await session.send("Page.stopScreencast");
    expect(times.length).toBeGreaterThan(50);
    writeFileSync(join(FOLDER, "times.json"), JSON.stringify(times));
}, 180_000);
