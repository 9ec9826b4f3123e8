// A page of another origin, made of the client alone: CORS, and the player's shell in a real browser.

import { createServer, type Server } from "node:http";
import { readFile } from "node:fs/promises";
import { join, normalize } from "node:path";
import type { AddressInfo } from "node:net";
import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { Browser, recordedOf } from "./browser.ts";
import { Program } from "./program.ts";

const CLIENT = join(import.meta.dirname, "../../sdk/typescript/dist");
/** The canvas begins on the screen; `below` brings it off it. */
const PAGE = `<!doctype html><title>elsewhere</title>
<style>body { margin: 0 } #box { position: relative; width: 320px; height: 180px } #box > * { position: absolute; inset: 0; width: 100%; height: 100% }</style>
<div id="box" data-testid="player"><canvas></canvas><video></video></div><div style="height: 4000px"></div>
<script type="module">
import { Rushes } from "/client/index.js";
import { Player } from "/client/player/index.js";
window.sdk = { Rushes, Player };
</script>`;

let program: Program;
let browser: Browser;
let host: Server;
let origin: string;

beforeAll(async () => {
    host = createServer(async ({ url = "/" }, answer) => {
        if (url === "/") return void answer.setHeader("content-type", "text/html").end(PAGE);
        const path = normalize(url.replace(/^\/client\//, ""));
        const file = path.startsWith("..") ? null : await readFile(join(CLIENT, path)).catch(() => null);
        answer.statusCode = file === null ? 404 : 200;
        answer.setHeader("content-type", "text/javascript").end(file ?? "");
    });
    await new Promise<void>((resolve) => host.listen(0, "127.0.0.1", resolve));
    origin = `http://127.0.0.1:${(host.address() as AddressInfo).port}`;
    [program, browser] = await Promise.all([Program.serve("--allowed-origins", origin), Browser.start()]);
    program.work();
});
afterEach(() => browser.closePages());
afterAll(async () => {
    host.close();
    await Promise.all([program.stop(), browser.stop()]);
});

type Sdk = typeof import("@rushes/client") & typeof import("@rushes/client/player");
declare global {
    interface Window {
        sdk: Sdk;
        player: InstanceType<Sdk["Player"]>;
    }
}

async function elsewhere(from = origin): Promise<Page> {
    const page = await browser.page();
    await page.goto(from);
    await page.waitForFunction(() => "sdk" in window);
    return page;
}

/** Submits, and plays what comes in the page's canvas. Answers the id. */
function play(page: Page, seconds: number): Promise<string> {
    const given = { url: program.url, token: program.token("ada"), seconds };
    return page.evaluate(async ({ url, token, seconds }) => {
        const rushes = new window.sdk.Rushes({ url, getToken: () => token });
        const params = { width: 320, height: 180, fps: 12, seconds, seed: 7 };
        const { generation } = await rushes.submit({ prompt: "golden sunset over a mountain lake", params });
        const [canvas, video] = [document.querySelector("canvas"), document.querySelector("video")];
        if (canvas === null || video === null) throw new Error("no place for pictures");
        window.player = new window.sdk.Player(rushes.watch(generation), { canvas, video, base: url, delivery: "all" });
        return generation.id;
    }, given);
}

const credits = async (page: Page) => (await recordedOf(page)).said.filter(({ type }) => type === "credit").map(({ frames }) => frames as number);
const showing = (page: Page, what: string) => page.waitForFunction((what) => window.player?.getSnapshot().showing === what, what);

it("plays the previews and then the film, at the place where the previews stood, and gives every bitmap back", async () => {
    const page = await elsewhere();
    await page.evaluate(() => {
        const video = document.querySelector("video") as HTMLVideoElement;
        // What stands on the screen at the moment of the change.
        const look = () => {
            if (video.style.visibility !== "visible" || "atChange" in window) return;
            const canvas = document.querySelector("canvas") as HTMLCanvasElement;
            const pixels = canvas.getContext("2d")?.getImageData(0, 0, canvas.width, canvas.height).data ?? [];
            Object.assign(window, { atChange: { ready: video.readyState, at: video.currentTime, lit: pixels.some((value, at) => at % 4 < 3 && value > 0) } });
        };
        new MutationObserver(look).observe(video, { attributes: true });
    });
    await play(page, 5);
    await showing(page, "film");
    const { atChange, index } = await page.evaluate(() => ({
        atChange: (window as unknown as { atChange: { ready: number; at: number; lit: boolean } }).atChange,
        index: window.player.getSnapshot().index,
    }));
    const recorded = await recordedOf(page);
    const total = recorded.came.at(-1)?.total as number;
    expect(atChange.ready).toBeGreaterThanOrEqual(2);
    expect(atChange.lit, "the last preview stands until the film does").toBe(true);
    const stood = index >= total - 1 ? 0 : (index / total) * 5;
    expect(Math.abs(atChange.at - stood), `${atChange.at} s of the film, ${stood} s of the previews`).toBeLessThan(2 / 12);
    expect(recorded.drawn.length).toBeGreaterThanOrEqual(10);
    const first = recorded.drawn.filter(({ pts }, at) => recorded.drawn.slice(0, at).every((before) => before.pts < pts));
    expect(new Set(first.map(({ hash }) => hash)).size).toBeGreaterThanOrEqual(10);
    expect([recorded.byWorker, recorded.closed]).toEqual([recorded.decoded, recorded.decoded]);
    expect(browser.errors()).toEqual([]);
});

it("asks for no pictures while the canvas is off the screen or the page is hidden, and decodes none", async () => {
    const page = await elsewhere();
    await play(page, 8);
    await showing(page, "previews");
    await page.evaluate(() => scrollTo(0, 3_000));
    await page.waitForFunction(() => window.recorded.said.at(-1)?.type === "credit");
    expect((await credits(page)).at(-1)).toBe(0);
    const decoded = await decodedAtRest(page);
    const events = (await recordedOf(page)).heard.length;
    await page.waitForFunction((events) => window.recorded.heard.length > events + 3, events);
    expect((await recordedOf(page)).decoded).toBe(decoded);
    await page.evaluate(() => scrollTo(0, 0));
    await page.waitForFunction((decoded) => window.recorded.decoded > decoded, decoded);
    const last = (await recordedOf(page)).said.at(-1);
    expect(last?.type === "subscribe" ? last.frames : last?.frames, "a wish again, or more credit").toBeTruthy();

    await page.evaluate(() => {
        Object.defineProperty(document, "hidden", { value: true, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    });
    await page.waitForFunction(() => window.recorded.said.at(-1)?.frames === 0);
    await page.evaluate(() => window.player.stop());
    await page.waitForFunction(() => window.recorded.closed === window.recorded.decoded);
});

/** How many were decoded once those that were under way are done. */
async function decodedAtRest(page: Page): Promise<number> {
    let [before, now] = [-1, 0];
    while (before !== now) {
        before = now;
        const heard = (await recordedOf(page)).heard.length;
        await page.waitForFunction((heard) => window.recorded.heard.length > heard, heard);
        now = (await recordedOf(page)).decoded;
    }
    return now;
}

it("is refused on a page that is not allowed", async () => {
    const other = createServer((_, answer) => answer.setHeader("content-type", "text/html").end(PAGE.replaceAll("/client/", `${origin}/client/`)));
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const page = await browser.page();
    await page.goto(`http://127.0.0.1:${(other.address() as AddressInfo).port}`);
    const token = program.token("ada");
    const seen = await page.evaluate(async ({ url, token }) => {
        const asked = await fetch(`${url}/v1/generations`, { headers: { authorization: `Bearer ${token}` } }).catch((error: Error) => error.name);
        const socket = await new Promise((resolve) => {
            const socket = new WebSocket(`${url.replace("http", "ws")}/v1/live`);
            socket.onopen = () => resolve("open");
            socket.onclose = ({ code }) => resolve(code);
        });
        return { asked, socket };
    }, { url: program.url, token });
    expect(seen).toEqual({ asked: "TypeError", socket: 1006 });
    other.close();
});
