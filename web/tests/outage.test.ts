// What goes wrong between the page and the server while a film is made; the film is the same in the end.

import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { Browser, recordedOf } from "./browser.ts";
import { Network } from "./network.ts";
import { Program } from "./program.ts";
import { isDense, Studio } from "./studio.ts";

let program: Program;
let browser: Browser;
let network: Network;

beforeAll(async () => {
    [program, browser] = await Promise.all([Program.demo(), Browser.start()]);
    network = await Network.to(program.url);
});
afterEach(async () => {
    await browser.context.setOffline(false);
    network.mend();
    await browser.closePages();
});
afterAll(async () => {
    network.stop();
    await Promise.all([program.stop(), browser.stop()]);
});

/** A film that is being made, with the drawer open. */
async function running(seconds: number): Promise<{ studio: Studio; id: string }> {
    const studio = await Studio.open(await browser.page(), network.url);
    await studio.openDrawer();
    const id = await studio.generate("golden sunset over a mountain lake", seconds);
    await studio.state("Generating frames");
    return { studio, id };
}

/** Everything that the server knows of it stands in the drawer, each once and in order. */
async function expectWhole(studio: Studio, id: string): Promise<void> {
    const { events } = await program.ask<{ events: { sequence: number }[] }>("ada", `/v1/generations/${id}/events?after=start`);
    const { sequences } = await studio.rows();
    expect(isDense(sequences)).toBe(true);
    expect(sequences.at(-1)).toBe(events.at(-1)?.sequence);
    expect(await studio.fact("Holes refilled")).toBe("0");
    expect(await studio.fact("Events")).toBe(String(sequences.length));
    expect(browser.errors()).toEqual([]);
}

it("refills and marks what was missed while the connection was cut by its button", async () => {
    const { studio, id } = await running(2);
    await studio.at("cut").click();
    // The way back stays closed until something was missed; a browser keeps connections that nothing uses, and would take one.
    network.cut();
    const { sequences } = await studio.rows();
    let head = 0;
    while (head < (sequences.at(-1) as number) + 2) {
        const page = await program.ask<{ events: { sequence: number }[] }>("ada", `/v1/generations/${id}/events?after=start&limit=256`);
        head = page.events.at(-1)?.sequence ?? 0;
    }
    network.mend();
    await studio.page.waitForFunction(() => document.querySelector("[data-testid=event-row][data-refilled=true]") !== null);
    const { refilled } = await studio.rows();
    expect(refilled.length).toBeGreaterThan(0);
    expect(isDense(refilled)).toBe(true);
    await studio.film();
    await expectWhole(studio, id);
});

it("says that it is offline, and misses nothing when the network is back", async () => {
    const { studio, id } = await running(2);
    await browser.context.setOffline(true);
    network.cut();
    await studio.page.waitForFunction(() => document.querySelector("[data-testid=connection]")?.textContent?.includes("Offline"));
    expect(await studio.at("notice").textContent()).toContain("offline");
    network.mend();
    await browser.context.setOffline(false);
    await studio.film();
    await expectWhole(studio, id);
    expect(await studio.at("connection").textContent()).not.toContain("Offline");
});

for (const [button, name, badge] of [
    ["use-sse", "SSE", "Live"],
    ["use-longpoll", "Long-poll", "Polling"],
    ["use-websocket", "WebSocket", "Live"],
] as const) {
    it(`brings a film over ${name} alone`, async () => {
        const studio = await Studio.open(await browser.page(), network.url);
        await studio.openDrawer();
        await studio.at(button).click();
        const id = await studio.generate("a quiet river in fog", 1);
        await studio.page.waitForFunction((badge) => document.querySelector("[data-testid=connection]")?.textContent?.includes(badge), badge);
        expect(await studio.at("transport").textContent()).toContain(name);
        const pictures = (await recordedOf(studio.page)).came.length;
        await studio.film();
        await expectWhole(studio, id);
        // Another way is another way: no picture came over a socket that was not to be used.
        if (button !== "use-websocket") expect((await recordedOf(studio.page)).came.length).toBe(pictures);
    });
}

it("goes on with the same film when the server is killed and started again", async () => {
    const { studio, id } = await running(4);
    await program.kill();
    await studio.page.waitForFunction(() => /Reconnecting|No answer/.test(document.querySelector("[data-testid=connection]")?.textContent ?? ""));
    expect(await studio.at("notice").textContent()).toMatch(/your film/);
    await program.start();
    await studio.film();
    await expectWhole(studio, id);
    const { state } = await program.ask<{ state: string }>("ada", `/v1/generations/${id}`);
    expect(state).toBe("complete");
});

it("says that a film was deleted while its watcher was away, and that it is no more", async () => {
    const { studio, id } = await running(8);
    network.cut();
    await program.ask("ada", `/v1/generations/${id}/cancel`, "POST");
    let state = "";
    while (state !== "cancelled") ({ state } = await program.ask<{ state: string }>("ada", `/v1/generations/${id}`));
    await program.ask("ada", `/v1/generations/${id}`, "DELETE");
    network.mend();
    await studio.state("Deleted", "Not found");
    await studio.page.waitForFunction((id) => document.querySelector(`[data-generation=${id}]`) === null, id);
    // The page is of use all the same.
    await studio.generate("a lake, after all", 1);
    await studio.film();
    expect(browser.errors()).toEqual([]);
});
