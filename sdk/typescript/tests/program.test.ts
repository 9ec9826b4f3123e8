// Against the real program: a film, watched over each rung, while the server is killed and started again.

import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { WebSocket } from "ws";
import { Rushes, type Frame, type GenerationStore, type Rung } from "../src/index.ts";
import { Mine } from "../src/mine.ts";
import { PROGRAM, Program } from "./program.ts";
import { until } from "./support.ts";

if (PROGRAM === null) console.warn("SKIPPED: the program is not built (`cargo build -p rushes`), so nothing here is tested against the real server");

describe.skipIf(PROGRAM === null)("with the real server", () => {
    const params = { width: 192, height: 108, seconds: 1, fps: 12 };
    const timing = { backoffMinMs: 100, backoffMaxMs: 500, climbMs: 1_000 };
    let program: Program;
    let token: string;
    const client = (...transports: Rung[]) =>
        new Rushes({ url: program.url, getToken: () => token, WebSocket, timing, ...(transports.length > 0 && { transports }) });

    beforeAll(async () => {
        program = await new Program().start();
        token = program.token();
        program.work();
    });
    afterAll(() => program.stop());

    it("brings one film to three watchers, over each rung, through a kill -9 of the server", async () => {
        const rungs: Rung[] = ["websocket", "sse", "poll"];
        const { generation } = await client().submit({ prompt: "golden sunset over a mountain lake", params });
        const clients = rungs.map((rung) => client(rung));
        const stores = clients.map((rushes) => rushes.watch(generation.id, { after: "start" }));
        const all = stores.map(async (store) => {
            const seen = [];
            for await (const event of store) seen.push(event);
            return seen;
        });
        await Promise.all(stores.map((store) => until(store, ({ event }) => (event?.sequence ?? 0) >= 2)));
        await program.kill();
        await Promise.all(clients.map((rushes) => until(rushes.connection, ({ state }) => state === "reconnecting" || state === "offline")));
        await program.start();
        const seen = await Promise.all(all);
        for (const events of seen) {
            expect(events.map(({ sequence }) => sequence)).toEqual(events.map((_, index) => index + 1));
            expect(events.at(-1)).toMatchObject({ state: "complete", progress: 100 });
            expect(events).toEqual(seen[0]);
        }
        for (const [index, store] of stores.entries()) {
            expect(store.getSnapshot()).toMatchObject({ phase: "ended", counts: { holes: 0, snapshots: 0 } });
            clients[index]?.close();
        }
        const url = new URL(seen[0]?.at(-1)?.metadata?.videoUrl as string, program.url);
        const film = await fetch(url);
        expect([film.status, film.headers.get("content-type")]).toEqual([200, "video/mp4"]);
        await film.body?.cancel();
    }, 40_000);

    it.each<Rung>(["websocket", "sse"])("shows pictures while it is made, over %s", async (rung) => {
        const rushes = client(rung);
        const { generation } = await rushes.submit({ prompt: "aurora over a pine forest", params: { ...params, width: 480, height: 270, seconds: 8 } });
        const store = rushes.watch(generation);
        const frames: Frame[] = [];
        store.watchFrames({ maxFps: 30 }, (frame) => frames.push(frame));
        expect((await store.finished()).state).toBe("complete");
        expect(frames.length).toBeGreaterThan(rung === "sse" ? 0 : 2);
        for (const { header, picture } of frames) {
            expect(header).toMatchObject({ generationId: generation.id, format: "webp" });
            expect(String.fromCharCode(...picture.subarray(0, 4))).toBe("RIFF");
        }
        rushes.close();
    }, 20_000);

    it.each<Rung>(["websocket", "sse", "poll"])("keeps the list of one's own live, over %s", async (rung) => {
        const rushes = client(rung);
        const before = (await rushes.submit({ prompt: "a lake", params: { ...params, seconds: 20 } })).generation.id;
        const mine = new Mine(rushes, { pageSize: 50 });
        const leave = mine.subscribe(() => {});
        const one = (id: string) => mine.getSnapshot().generations.find((generation) => generation.id === id);
        await until(mine, ({ phase }) => phase === "live");
        expect(one(before)).toBeDefined();
        // Made by another connection, as by another tab.
        const other = client("poll");
        const { id } = (await other.submit({ prompt: "a river", params: { ...params, seconds: 20 } })).generation;
        await until(mine, () => one(id) !== undefined);
        for (const cancelled of [before, id]) await other.cancel(cancelled);
        await until(mine, () => one(id)?.state === "cancelled" && one(before)?.state === "cancelled");
        await mine.delete(id);
        expect(one(id)).toBeUndefined();
        await other.delete(before);
        await mine.refresh();
        expect(one(before)).toBeUndefined();
        leave();
        rushes.close();
        other.close();
    }, 20_000);

    it("keeps the list of one's own live again after a token that was none", async () => {
        let given = "no.such.token";
        const rushes = new Rushes({ url: program.url, getToken: () => given, WebSocket, timing });
        const mine = new Mine(rushes);
        const leave = mine.subscribe(() => {});
        expect(await until(mine, ({ phase }) => phase === "refused")).toMatchObject({ error: { code: "unauthorized" } });
        given = token;
        rushes.connection.retry();
        await mine.refresh();
        await until(mine, ({ phase, error }) => phase === "live" && error === null, 5_000);
        const other = client("poll");
        const { id } = (await other.submit({ prompt: "a lake", params: { ...params, seconds: 20 } })).generation;
        await until(mine, ({ generations }) => generations.some((one) => one.id === id), 5_000);
        await other.cancel(id);
        leave();
        rushes.close();
        other.close();
    }, 20_000);

    it("watches a page of generations over one stream, with pictures of one of them", async () => {
        const rushes = client("sse");
        const made = await Promise.all([1, 2, 3].map((seed) => rushes.submit({ prompt: "a lake", params: { ...params, seed } })));
        const stores = made.map(({ generation }) => rushes.watch(generation.id, { after: "start" }));
        const pictures: Frame[] = [];
        stores[2]?.watchFrames({ maxFps: 5, maxWidth: 192 }, (frame) => pictures.push(frame));
        const ends = await Promise.all(stores.map((store) => store.finished()));
        expect(ends.map(({ state }) => state)).toEqual(Array(3).fill("complete"));
        for (const store of stores) expect(store.getSnapshot().counts).toMatchObject({ holes: 0, snapshots: 0 });
        expect(pictures.length).toBeGreaterThan(0);
        expect(new Set(pictures.map(({ header }) => header.generationId))).toEqual(new Set([stores[2]?.id]));
        // Watched again from its end, it says that it ended.
        const { position } = stores[0]!.getSnapshot();
        expect((await client("sse").watch(stores[0]!.id, { after: position as string }).finished()).state).toBe("complete");
        rushes.close();
    }, 40_000);

    it("leaves on the server what it left faster than the server allows", async () => {
        // Without a worker: nothing ends.
        const idle = await new Program().start();
        onTestFinished(() => idle.stop());
        const watched = async () => {
            const text = await (await fetch(new URL("/metrics", idle.url))).text();
            return Number(/^rushes_subscriptions\{transport="websocket"\} (\d+)/m.exec(text)?.[1]);
        };
        const rushes = new Rushes({ url: idle.url, getToken: () => token, WebSocket, timing: { ...timing, refusedMs: 500 }, transports: ["websocket"] });
        const made = await Promise.all([1, 2].map((seed) => rushes.submit({ prompt: "a lake", params: { ...params, seed } })));
        const [kept, left] = made.map(({ generation }) => rushes.watch(generation)) as [GenerationStore, GenerationStore];
        const leaveKept = kept.subscribe(() => {});
        let leave = left.subscribe(() => {});
        await Promise.all([kept, left].map((store) => until(store, ({ phase }) => phase === "live")));
        await vi.waitUntil(async () => (await watched()) === 2);
        // 120 at once are allowed: with the two before, the last of them says that it is watched, and all after are refused.
        for (let turn = 0; turn < 70; turn += 1) {
            leave();
            leave = left.subscribe(() => {});
        }
        leave();
        await vi.waitUntil(async () => (await watched()) === 1, { timeout: 10_000 });
        expect(kept.getSnapshot().phase).toBe("live");
        leaveKept();
        rushes.close();
    }, 20_000);

    it("cancels, lists, retries and refuses as the server does", async () => {
        const rushes = client();
        const key = "the-same-click";
        const [first, second] = await Promise.all([1, 2].map(() => rushes.submit({ prompt: "a lake", params: { ...params, seconds: 20 } }, { idempotencyKey: key })));
        expect(first?.generation.id).toBe(second?.generation.id);
        const id = first?.generation.id as string;
        const store = rushes.watch(id);
        const end = store.finished();
        await rushes.cancel(id);
        expect((await end).state).toBe("cancelled");
        expect(await rushes.get(id)).toMatchObject({ id, state: "cancelled" });
        expect((await rushes.list({ state: "cancelled", limit: 5 })).generations.map((one) => one.id)).toContain(id);
        await expect(rushes.prioritize(id, "batch")).rejects.toMatchObject({ code: "state_conflict", status: 409 });
        await expect(rushes.submit({ prompt: "other" }, { idempotencyKey: key })).rejects.toMatchObject({ code: "idempotency_conflict" });
        const retried = await rushes.retry(id);
        expect(retried.generation).toMatchObject({ retryOf: id });
        await rushes.cancel(retried.generation.id);
        await rushes.watch(retried.generation).finished();
        const after = rushes.watch(id, {}).getSnapshot().position as string;
        expect(await client("poll").watch(id, { after }).finished()).toMatchObject({ state: "cancelled" });
        await rushes.delete(id);
        await expect(client("websocket").watch(id).finished()).rejects.toMatchObject({ code: "not_found" });
        rushes.close();
    }, 20_000);

    it("watches with a live token what it names, and nothing else", async () => {
        const { generation, liveToken } = await client().submit({ prompt: "a river", params });
        const { generation: other } = await client().submit({ prompt: "a lake", params });
        for (const rung of ["websocket", "sse", "poll"] as const) {
            const page = new Rushes({ url: program.url, getToken: () => liveToken, WebSocket, transports: [rung] });
            expect((await page.watch(generation.id, { after: "start" }).finished()).state).toBe("complete");
            await expect(page.watch(other.id).finished()).rejects.toMatchObject({ code: "not_found" });
            page.close();
        }
    }, 20_000);

    it("stops with `unauthorized` when the token is none", async () => {
        for (const rung of ["websocket", "sse", "poll"] as const) {
            const rushes = new Rushes({ url: program.url, getToken: () => "no.such.token", WebSocket, transports: [rung] });
            rushes.watch("gen_a").subscribe(() => {});
            const { error } = await until(rushes.connection, ({ error }) => error !== null);
            expect(error).toMatchObject({ code: "unauthorized", retryable: false });
            rushes.close();
        }
    });
});
