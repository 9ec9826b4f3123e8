// From a prompt to a film, on the page that the program serves.

import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { Browser, recordedOf } from "./browser.ts";
import { Program } from "./program.ts";
import { isDense, Studio } from "./studio.ts";

let program: Program;
let browser: Browser;

beforeAll(async () => {
    [program, browser] = await Promise.all([Program.demo(), Browser.start()]);
});
afterEach(() => browser.closePages());
afterAll(() => Promise.all([program.stop(), browser.stop()]));

it("shows the way of a prompt to a film: each status in order, pictures as they are made, and the film without a jump", async () => {
    const studio = await Studio.open(await browser.page(), program.url);
    const { page } = studio;
    const id = await studio.generate("aurora over arctic pine forest at night, lake reflection", 2);
    await studio.film();
    await studio.state("Finished");
    const recorded = await recordedOf(page);

    // Two subscriptions tell of it: the list's, which leaves out progress that newer progress replaces, and the drawer's, which
    // may begin with what the list had. The client drops repeats; what counts is that everything was there.
    const all = recorded.heard.filter(({ type, generationId, data }) => type === "status_update" && generationId === id && !data?.ephemeral);
    const updates = [...new Map(all.map((update) => [update.data?.sequence ?? 0, update])).entries()].sort(([a], [b]) => a - b).map(([, update]) => update);
    const statuses = updates.flatMap(({ data }) => (data ? [data.status] : []));
    const inOrder = statuses.filter((status, at) => status !== statuses[at - 1]);
    expect(inOrder).toEqual(["queued", "prompt_analysis", "generating_frames", "interpolating", "upscaling", "encoding", "complete"].slice(-inOrder.length));
    expect(inOrder.length).toBeGreaterThanOrEqual(6);
    expect(isDense(updates.flatMap(({ data }) => (data && !data.ephemeral ? [data.sequence] : [])))).toBe(true);
    expect(new Set(recorded.states).size, `the screen goes back: ${recorded.states}`).toBe(recorded.states.length);
    expect(recorded.states.at(-1)).toBe("Finished");
    expect(recorded.states.length).toBeGreaterThanOrEqual(5);

    const drawn = recorded.drawn.filter(({ isPlayer }) => isPlayer);
    // A loop of what there is: each time it goes further than ever before.
    const rising = drawn.filter(({ pts }, at) => drawn.slice(0, at).every((before) => before.pts < pts));
    expect(rising.length).toBeGreaterThanOrEqual(10);
    expect(new Set(rising.map(({ hash }) => hash)).size).toBeGreaterThanOrEqual(10);
    expect(Math.max(...drawn.map(({ revision }) => revision))).toBeGreaterThan(0);
    expect(recorded.byWorker).toBe(recorded.decoded);
    expect(recorded.closed).toBe(recorded.decoded);

    const film = await studio.at("film").evaluate(async (video: HTMLVideoElement) => {
        const begun = video.currentTime;
        await new Promise((resolve) => video.requestVideoFrameCallback(() => video.requestVideoFrameCallback(resolve)));
        const { duration, error, videoWidth, videoHeight } = video;
        video.pause();
        video.currentTime = duration / 2;
        await new Promise((resolve) => video.addEventListener("seeked", resolve, { once: true }));
        return { duration, error, videoWidth, videoHeight, begun, middle: video.currentTime, isVisible: getComputedStyle(video).visibility };
    });
    expect(film).toMatchObject({ error: null, videoWidth: 640, videoHeight: 360, isVisible: "visible" });
    expect(film.duration).toBeCloseTo(2, 0);
    expect(film.middle).toBeCloseTo(film.duration / 2, 1);
    const link = await studio.at("download").getAttribute("href");
    const file = await fetch(new URL(link as string, program.url));
    expect([file.status, file.headers.get("content-type")]).toEqual([200, "video/mp4"]);
    await file.body?.cancel();
    expect([recorded.violations, browser.errors()]).toEqual([[], []]);
});

it("makes one generation of a double click", async () => {
    const studio = await Studio.open(await browser.page(), program.url);
    await studio.wish("a lake at dawn, twice", 1);
    await studio.at("submit").dblclick();
    await studio.state("Finished");
    const { generations } = await program.ask<{ generations: { input: { prompt: string } }[] }>("ada", "/v1/generations?limit=100");
    expect(generations.filter(({ input }) => input.prompt === "a lake at dawn, twice")).toHaveLength(1);
});

it("goes on after a reload in the middle, from where it was", async () => {
    const studio = await Studio.open(await browser.page(), program.url);
    const { page } = studio;
    const id = await studio.generate("golden sunset over a mountain lake", 4);
    await page.waitForFunction(() => window.recorded.drawn.length >= 3);
    const before = await recordedOf(page);
    await page.reload();
    await studio.film();
    const after = await recordedOf(page);
    const sequences = ({ heard }: typeof before) =>
        heard.flatMap(({ data, generationId }) => (generationId === id && data && !data.ephemeral ? [data.sequence] : []));
    const subscribed = after.said.find(({ type, generationId }) => type === "subscribe" && generationId === id);
    expect(subscribed?.after, "it gave its position back").toMatch(/^[a-z0-9]+:\d+$/);
    // The list of one's own tells of it too, and may do so first: everything is there, whoever brought it.
    const [first, second] = [sequences(before), [...new Set(sequences(after))].sort((a, b) => a - b)];
    expect(isDense(second)).toBe(true);
    // It may have heard more after what was recorded of it.
    const given = Number(String(subscribed?.after).split(":")[1]);
    expect(given).toBeGreaterThanOrEqual(first.at(-1) as number);
    expect(second[0]).toBeLessThanOrEqual(given + 1);
    expect(await studio.opened()).toBe(id);
});

it("shows each person her own, and nothing of the other", async () => {
    const studio = await Studio.open(await browser.page(), program.url);
    const person = (name: string) => studio.at("user-switch").getByLabel(name).check({ force: true });
    const id = await studio.generate("a quiet river, for ada alone", 1);
    await studio.state("Finished");
    await person("Grace");
    await studio.page.getByText("Nothing yet.").waitFor();
    expect(await studio.at("tile").count()).toBe(0);
    const hers = await studio.generate("a city in the rain, for grace alone", 1);
    await studio.state("Finished");
    await studio.page.waitForFunction(() => document.querySelectorAll("[data-testid=tile]").length === 1);
    await studio.page.goto(`${program.url}/#${id}`);
    await studio.state("Not found");
    await person("Ada");
    await studio.page.waitForFunction((id) => document.querySelector(`[data-generation=${id}]`) !== null, id);
    expect(await studio.page.locator(`[data-generation=${hers}]`).count()).toBe(0);
});

it("shows the latest picture in a tile that comes into view when no more pictures come", async () => {
    const studio = await Studio.open(await browser.page(), program.url);
    await studio.page.setViewportSize({ width: 1_280, height: 500 });
    const id = await studio.generate("a mountain lake, for a while", 12);
    await studio.state("Generating frames");
    await studio.page.waitForFunction(() => document.querySelector("[data-testid=player]")?.getAttribute("data-showing") === "previews");
    await studio.state("Interpolating");
    const tile = studio.page.locator(`[data-generation=${id}]`);
    const width = () => tile.locator("canvas").evaluate((canvas: HTMLCanvasElement) => canvas.width);
    const before = await width();
    await tile.scrollIntoViewIfNeeded();
    await studio.page.waitForFunction((id) => (document.querySelector<HTMLCanvasElement>(`[data-generation=${id}] canvas`)?.width ?? 0) > 16, id);
    expect(before, "nothing was drawn where nobody saw it").toBe(16);
    await studio.at("cancel").click();
});

it("lets a running film be cancelled and tried again", async () => {
    const studio = await Studio.open(await browser.page(), program.url);
    const id = await studio.generate("a storm at sea, at length", 8);
    await studio.state("Generating frames");
    await studio.at("cancel").click();
    await studio.state("Cancelled");
    await studio.at("retry").click();
    await studio.page.waitForFunction((id) => location.hash !== `#${id}`, id);
    await studio.at("cancel").click();
    await studio.state("Cancelled");
    expect(browser.errors()).toEqual([]);
});
