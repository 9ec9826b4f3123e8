// Measures the screen, for `bench/screen/run`: prints, and asserts nothing but that something was measured.

import { execFileSync } from "node:child_process";
import { createServer } from "node:http";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Browser } from "./browser.ts";
import { Program } from "./program.ts";
import { Studio } from "./studio.ts";
import { startWall } from "./wall-worker.ts";

/** Events of the first measurement, and how many of them a second. */
const EVENTS = 300;
const EVENTS_PER_SECOND = 20;
const TILES = 24;
const HIDDEN_TILES = 12;
const WALL_SECONDS = Number(process.env.STUDIO_WALL_SECONDS ?? 120);
const LOADS = 7;

let browser: Browser;
let stop: (() => Promise<unknown> | void)[] = [];

beforeEach(async () => {
    browser = await Browser.start();
    stop = [() => browser.stop()];
});
afterEach(async () => {
    for (const one of stop.reverse()) await one();
});

function say(text: string): void {
    process.stdout.write(`\n=> ${text}\n`);
}

function quantile(samples: readonly number[], share: number): number {
    const sorted = [...samples].sort((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] as number;
}

const spread = (samples: readonly number[]) => `median ${quantile(samples, 0.5).toFixed(0)} ms, p95 ${quantile(samples, 0.95).toFixed(0)} ms of ${samples.length}`;
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

it("from commit to painted pixel", async () => {
    const program = await Program.demo();
    stop.push(() => program.stop());
    const { generation } = await program.ask<{ generation: { id: string } }>("ada", "/v1/generations", "POST", { pipeline: "external" });
    const page = await browser.page();
    // A row with its sequence is in the drawer: the frame after it is painted when this message arrives.
    await page.addInitScript(() => {
        const painted: Record<number, number> = {};
        Object.assign(window, { painted });
        new MutationObserver((changes) => {
            for (const node of changes.flatMap(({ addedNodes }) => [...addedNodes])) {
                if (!(node instanceof HTMLElement) || node.dataset.sequence === undefined) continue;
                const sequence = Number(node.dataset.sequence);
                requestAnimationFrame(() => {
                    const { port1, port2 } = new MessageChannel();
                    port1.onmessage = () => (painted[sequence] = performance.timeOrigin + performance.now());
                    port2.postMessage(null);
                });
            }
        }).observe(document, { subtree: true, childList: true });
    });
    const studio = await Studio.open(page, `${program.url}/#${generation.id}`);
    await studio.openDrawer();
    await page.waitForFunction(() => document.querySelectorAll("[data-testid=event-row]").length > 0);
    const token = await program.signIn("ada");
    for (let at = 0; at < EVENTS; at += 1) {
        const report = { eventId: `bench-${at}`, status: "generating_frames", progress: (at * 99) / EVENTS };
        await program.ask(token, `/v1/generations/${generation.id}/events`, "POST", [report]);
        await pause(1_000 / EVENTS_PER_SECOND);
    }
    const { events } = await program.ask<{ events: { sequence: number; timestamp: number }[] }>(token, `/v1/generations/${generation.id}/events?after=10&limit=256`);
    await page.waitForFunction((last) => (window as unknown as { painted: Record<number, number> }).painted[last] !== undefined, events.at(-1)?.sequence as number);
    const painted = await page.evaluate(() => (window as unknown as { painted: Record<number, number> }).painted);
    const samples = events.flatMap(({ sequence, timestamp }) => (painted[sequence] === undefined ? [] : [(painted[sequence] as number) - timestamp]));
    expect(samples.length).toBeGreaterThan(events.length / 2);
    say(`commit to painted pixel, ${EVENTS_PER_SECOND} events/s: ${spread(samples)}`);
});

it("a wall of live tiles", async () => {
    const client = join(import.meta.dirname, "../../sdk/typescript/dist");
    const html = `<!doctype html><style>body { margin: 0; display: grid; grid-template-columns: repeat(6, 200px) } canvas { width: 200px; height: 113px } .below { margin-top: 3000px }</style>
<script type="module">import { Rushes } from "/client/index.js"; import { Player } from "/client/player/index.js"; window.sdk = { Rushes, Player };</script>`;
    const host = createServer(async ({ url = "/" }, answer) => {
        if (url === "/") return void answer.setHeader("content-type", "text/html").end(html);
        answer.setHeader("content-type", "text/javascript").end(await readFile(join(client, url.replace("/client/", ""))).catch(() => ""));
    });
    await new Promise<void>((resolve) => host.listen(0, "127.0.0.1", resolve));
    stop.push(() => void host.close());
    const origin = `http://127.0.0.1:${(host.address() as AddressInfo).port}`;
    const program = await Program.serve("--allowed-origins", origin);
    stop.push(() => program.stop());
    stop.push(await startWall(program, TILES + HIDDEN_TILES, 5, pictures()));
    const token = program.token("ada");
    const ids: string[] = [];
    while (ids.length < TILES + HIDDEN_TILES) {
        const { generation } = await program.ask<{ generation: { id: string } }>(token, "/v1/generations", "POST", { prompt: "a wall" });
        ids.push(generation.id);
    }
    const page = await browser.page();
    await page.goto(origin);
    await page.waitForFunction(() => "sdk" in window);
    await page.evaluate(beginWall, { url: program.url, token, ids, visible: TILES });
    await page.waitForFunction((tiles) => (window as unknown as Wall).wall.players.slice(0, tiles).every((player) => player.getSnapshot().drawn > 2), TILES);
    const session = await page.context().newCDPSession(page);
    const look = async (when: string) => {
        await session.send("HeapProfiler.collectGarbage");
        const heap = await session.send("Runtime.getHeapUsage");
        const { open } = await page.evaluate(reading);
        say(`${when}: JS heap after collection ${(heap.usedSize / 1e6).toFixed(1)} MB, renderers resident ${residentOfRenderers().toFixed(0)} MB, bitmaps open ${open}`);
    };
    await look("memory of the wall at the start");
    const before = await page.evaluate(reading);
    for (const half of [1, 2]) {
        await pause(WALL_SECONDS * 500);
        await look(`after ${(half * WALL_SECONDS) / 2} s`);
    }
    const after = await page.evaluate(reading);
    const seconds = (after.at - before.at) / 1_000;
    const drawn = after.drawn.map((count, at) => (count - (before.drawn[at] as number)) / seconds);
    const intervals = after.intervals.slice(before.intervals.length);
    say(`${TILES} live tiles of 240 px at 5 fps, ${seconds.toFixed(0)} s: ${(intervals.length / seconds).toFixed(1)} paints/s, ${quantile(intervals, 0.95).toFixed(1)} ms between two at p95`);
    say(`pictures drawn per tile: median ${quantile(drawn.slice(0, TILES), 0.5).toFixed(1)}/s, least ${Math.min(...drawn.slice(0, TILES)).toFixed(1)}/s`);
    const came = (of: readonly string[]) => of.reduce((sum, id) => sum + (after.cameOf[id] ?? 0) - (before.cameOf[id] ?? 0), 0);
    const [seen, hidden] = [ids.slice(0, TILES), ids.slice(TILES)];
    say(`pictures that came for the ${TILES} tiles on the screen ${came(seen)}, decoded ${after.decoded - before.decoded}; for the ${HIDDEN_TILES} off the screen came ${came(hidden)}, drawn ${drawn.slice(TILES).reduce((sum, one) => sum + one, 0)}`);
    expect(intervals.length).toBeGreaterThan(0);
}, (WALL_SECONDS + 120) * 1_000);

interface Wall {
    readonly wall: { readonly players: { getSnapshot(): { readonly drawn: number } }[]; readonly intervals: number[] };
}

/** Runs in the page. */
async function beginWall({ url, token, ids, visible }: { url: string; token: string; ids: string[]; visible: number }): Promise<void> {
    const rushes = new window.sdk.Rushes({ url, getToken: () => token });
    const players = ids.map((id, at) => {
        const canvas = document.createElement("canvas");
        if (at >= visible) canvas.className = "below";
        document.body.append(canvas);
        return new window.sdk.Player(rushes.watch(id), { canvas, mode: "latest", fps: 5, maxWidth: 240 });
    });
    const intervals: number[] = [];
    let last = performance.now();
    const tick = (now: number) => {
        intervals.push(now - last);
        last = now;
        requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
    Object.assign(window, { wall: { players, intervals } });
    // What the recorder writes down would be the memory that is measured.
    setInterval(() => {
        for (const list of [window.recorded.came, window.recorded.heard, window.recorded.drawn, window.recorded.said]) list.splice(0, list.length - 64);
    }, 1_000);
}

/** Runs in the page. */
function reading(): { at: number; drawn: number[]; intervals: number[]; open: number; decoded: number; cameOf: Record<string, number> } {
    const { players, intervals } = (window as unknown as Wall).wall;
    const { decoded, closed, cameOf } = window.recorded;
    return { decoded, cameOf, at: performance.now(), drawn: players.map((player) => player.getSnapshot().drawn), intervals, open: decoded - closed };
}

it("how soon the page can be used", async () => {
    const program = await Program.demo();
    stop.push(() => program.stop());
    const samples: number[] = [];
    for (let load = 0; load < LOADS; load += 1) {
        const page: Page = await browser.page();
        const session = await page.context().newCDPSession(page);
        await session.send("Network.setCacheDisabled", { cacheDisabled: true });
        await page.addInitScript(() => {
            const observer = new MutationObserver(() => {
                const submit = document.querySelector<HTMLButtonElement>("[data-testid=submit]");
                if (submit === null || submit.disabled) return;
                observer.disconnect();
                // The task after the frame: whatever is clicked from here on is heard.
                requestAnimationFrame(() => setTimeout(() => Object.assign(window, { usableAt: performance.now() })));
            });
            observer.observe(document, { subtree: true, childList: true });
        });
        await page.goto(program.url);
        await page.waitForFunction(() => "usableAt" in window);
        samples.push(await page.evaluate(() => (window as unknown as { usableAt: number }).usableAt));
        await page.close();
    }
    say(`page usable after ${spread(samples)} loads without a cache`);
    expect(samples).toHaveLength(LOADS);
});

/** Sixteen different pictures of 240 x 135. */
function pictures(): Buffer[] {
    const folder = mkdtempSync(join(tmpdir(), "rushes-wall-"));
    execFileSync("ffmpeg", ["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=240x135:rate=4", "-frames:v", "16", "-c:v", "libwebp", "-quality", "75", join(folder, "%02d.webp")]);
    const made = readdirSync(folder).sort().map((name) => readFileSync(join(folder, name)));
    rmSync(folder, { recursive: true });
    return made;
}

/** Megabytes of all renderer processes below this one. */
function residentOfRenderers(): number {
    let kilobytes = 0;
    for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
        try {
            if (!readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("--type=renderer") || !isOurs(pid)) continue;
            kilobytes += Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0);
        } catch {
            // It ended while it was looked at.
        }
    }
    return kilobytes / 1_000;
}

function isOurs(pid: string): boolean {
    for (let at = pid; at !== "0" && at !== "1"; ) {
        if (at === String(process.pid)) return true;
        at = /PPid:\s+(\d+)/.exec(readFileSync(`/proc/${at}/status`, "utf8"))?.[1] ?? "0";
    }
    return false;
}
