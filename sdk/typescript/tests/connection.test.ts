// Stores and their connection against a server that loses, repeats, delays, cuts and stays mute.

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { WebSocket } from "ws";
import { Rushes, type GenerationEvent, type Options, type Rung } from "../src/index.ts";
import { ScriptedServer } from "./scripted.ts";
import { randomOf, SEED, until } from "./support.ts";

/** Waits short enough for tests; the order of them is that of the defaults. */
const timing = {
    backoffMinMs: 20, backoffMaxMs: 60, openMs: 150, quietMs: 100, muteMs: 100, streamMuteMs: 250, climbMs: 60_000, pollMs: 1_000,
    turnMs: 20, callMs: 2_000, lingerMs: 10,
};
const id = "gen_a";
let server: ScriptedServer;
let clients: Rushes[] = [];

function client(options: Partial<Options> = {}): Rushes {
    const made = new Rushes({ url: server.url, WebSocket, getToken: () => "good", ...options, timing: { ...timing, ...options.timing } });
    clients.push(made);
    return made;
}

async function collect(events: AsyncIterable<GenerationEvent>): Promise<number[]> {
    const sequences = [];
    for await (const event of events) sequences.push(event.sequence);
    return sequences;
}
const upTo = (last: number) => Array.from({ length: last }, (_, index) => index + 1);
const once = (fits: (event: GenerationEvent) => boolean) => {
    let left = 1;
    return (event: GenerationEvent) => fits(event) && left-- > 0;
};

beforeEach(async () => {
    server = await new ScriptedServer().start();
});
afterEach(async () => {
    for (const made of clients) made.close();
    clients = [];
    await server.stop();
});

describe.each<Rung>(["websocket", "sse", "poll"])("over %s", (rung) => {
    const only = { transports: [rung] };

    it("brings each event once and in order, to the end", async () => {
        server.publish(id, 3);
        const rushes = client(only);
        const store = rushes.watch(id, { after: "start" });
        const all = collect(store);
        await until(store, ({ phase, event }) => phase === "live" && event?.sequence === 3);
        expect(rushes.connection.getSnapshot()).toMatchObject({ state: rung === "poll" ? "polling" : "live", transport: rung });
        server.publish(id, 9, 12);
        expect(await all).toEqual(upTo(12));
        expect(store.getSnapshot()).toMatchObject({ phase: "ended", position: "k:12", counts: { repeats: 0, holes: 0 } });
    });

    it("begins with the current state unless told otherwise", async () => {
        server.publish(id, 7);
        const store = client(only).watch(id);
        const all = collect(store);
        await until(store, ({ phase }) => phase === "live");
        server.publish(id, 1, 8);
        expect(await all).toEqual([7, 8]);
        expect(store.getSnapshot().counts).toMatchObject({ events: 2, snapshots: 0 });
    });

    it("drops repeats and counts them", async () => {
        server.publish(id, 6, 6);
        server.faults = { repeat: ({ sequence }) => sequence < 6 && sequence % 2 === 0 };
        const store = client(only).watch(id, { after: "start" });
        expect(await collect(store)).toEqual(upTo(6));
        expect(store.getSnapshot().counts).toMatchObject({ events: 6, repeats: 2 });
    });

    it("resumes on a hole and counts it", async () => {
        server.publish(id, 9, 9);
        server.faults = { lose: once(({ sequence }) => sequence === 3) };
        const store = client(only).watch(id, { after: "start" });
        expect(await collect(store)).toEqual(upTo(9));
        expect(store.getSnapshot().counts).toMatchObject({ events: 9, holes: 1 });
    });

    it("misses no end that was lost", async () => {
        server.publish(id, 9, 9);
        server.faults = { lose: once(({ sequence }) => sequence === 9) };
        expect(await collect(client(only).watch(id, { after: "start" }))).toEqual(upTo(9));
    });

    it("comes back to its position when it is cut", async () => {
        server.publish(id, 9, 9);
        let cuts = 0;
        server.faults = { cut: ({ sequence }) => sequence % 3 === 0 && sequence < 9 && cuts < 2 && ++cuts > 0 };
        const store = client(only).watch(id, { after: "start" });
        expect(await collect(store)).toEqual(upTo(9));
        expect(cuts).toBe(2);
    });

    it("goes on from the state it is given when the position is gone", async () => {
        server.publish(id, 4);
        const store = client(only).watch(id, { after: "old:99" });
        const all = collect(store);
        await until(store, ({ phase }) => phase === "live");
        server.publish(id, 2, 6);
        expect(await all).toEqual([4, 5, 6]);
        expect(store.getSnapshot().position).toBe("k:6");
    });

    it("counts the snapshot when the server's history is another one", async () => {
        server.publish(id, 4);
        const store = client(only).watch(id, { after: "start" });
        const all = collect(store);
        await until(store, ({ phase }) => phase === "live");
        server.epoch = "z";
        server.logs.set(id, []);
        server.publish(id, 2);
        server.logs.get(id)?.forEach((event, at, log) => (log[at] = { ...event, eventId: `z.${at}` }));
        server.cutAll();
        await until(store, ({ counts }) => counts.snapshots === 1);
        server.publish(id, 1, 3);
        expect(await all).toEqual([1, 2, 3, 4, 2, 3]);
    });

    it("tells that there is no such generation", async () => {
        const store = client(only).watch("gen_none");
        await expect(collect(store)).rejects.toMatchObject({ code: "not_found", retryable: false });
        expect(store.getSnapshot()).toMatchObject({ phase: "refused", error: { code: "not_found" } });
    });

    it("says that what it watched was deleted while it was away", async () => {
        server.publish(id, 2);
        const rushes = client(only);
        const store = rushes.watch(id);
        const all = collect(store);
        await until(store, ({ phase }) => phase === "live");
        server.logs.delete(id);
        server.cutAll();
        await expect(all).rejects.toMatchObject({ code: "not_found" });
        expect(store.getSnapshot()).toMatchObject({ phase: "gone", event: { sequence: 2 } });
    });

    it("asks for a new token when the one it has is refused, and goes on", async () => {
        server.tokens = new Set(["second"]);
        server.publish(id, 3, 3);
        const getToken = vi.fn(() => (getToken.mock.calls.length > 1 ? "second" : "first"));
        expect(await collect(client({ ...only, getToken }).watch(id, { after: "start" }))).toEqual(upTo(3));
        expect(getToken).toHaveBeenCalledTimes(2);
    });

    it("stops when there is no other token, and goes on when told to try again", async () => {
        server.tokens = new Set();
        server.publish(id, 3, 3);
        const rushes = client(only);
        const all = collect(rushes.watch(id, { after: "start" }));
        await until(rushes.connection, ({ error }) => error?.code === "unauthorized");
        expect(rushes.connection.getSnapshot()).toMatchObject({ state: "offline", retryAt: null, error: { retryable: false } });
        server.tokens.add("good");
        rushes.connection.retry();
        expect(await all).toEqual(upTo(3));
    });

    it("survives a token factory that fails", async () => {
        server.publish(id, 2, 2);
        const getToken = vi.fn(async () => {
            if (getToken.mock.calls.length === 1) throw new Error("the network is down");
            return "good";
        });
        expect(await collect(client({ ...only, getToken }).watch(id, { after: "start" }))).toEqual(upTo(2));
    });

    it("stops waiting when it is told to", async () => {
        server.publish(id, 1);
        const stop = new AbortController();
        const store = client(only).watch(id);
        const all = store.finished({ signal: stop.signal });
        await until(store, ({ phase }) => phase === "live");
        stop.abort(new Error("enough"));
        await expect(all).rejects.toThrow("enough");
    });

    it(`delivers everything through every fault together (SEED=${SEED})`, async () => {
        const random = randomOf(SEED);
        const ids = ["gen_x", "gen_y", "gen_z", "gen_v", "gen_w"];
        for (const one of ids) server.publish(one, 10);
        server.faults = { lose: () => random() < 0.02, repeat: () => random() < 0.1, cut: () => random() < 0.02, pieceBytes: 7 };
        const rushes = client(only);
        const all = ids.map((one) => collect(rushes.watch(one, { after: "start" })));
        for (const one of ids) server.publish(one, 20, 30);
        for (const sequences of await Promise.all(all)) expect(sequences).toEqual(upTo(30));
    });
});

describe("a wish that changes", () => {
    it("is live though the server answers two subscriptions at once by one", async () => {
        server.publish(id, 2);
        server.faults = { mergeMs: 30 };
        const rushes = client();
        const other = rushes.watch("gen_b", { after: "start" });
        server.publish("gen_b", 1);
        const leave = other.subscribe(() => {});
        await until(other, ({ phase }) => phase === "live");
        const store = rushes.watch(id, { after: "start" });
        const all = collect(store);
        const frames = store.watchFrames({ maxFps: 5 }, () => {});
        const more = store.watchFrames({ maxFps: 12 }, () => {});
        await until(store, ({ phase }) => phase === "live");
        await until(rushes.connection, ({ state }) => state === "live");
        await vi.waitUntil(() => server.count(`ws subscribe ${id}`) === 2, { timeout: 5_000 });
        server.publish(id, 1, 3);
        expect(await all).toEqual(upTo(3));
        expect(store.getSnapshot().counts.holes).toBe(0);
        for (const stop of [frames.stop, more.stop, leave]) stop();
    });
});

describe("the ladder", () => {
    const joined = (rushes: Rushes) => {
        const store = rushes.watch(id, { after: "start" });
        return { store, all: collect(store) };
    };

    it("leaves a mute socket for the stream", async () => {
        server.publish(id, 2);
        server.faults = { muteSockets: true };
        const rushes = client();
        const { all } = joined(rushes);
        await until(rushes.connection, ({ state, transport }) => state === "live" && transport === "sse");
        server.publish(id, 1, 3);
        expect(await all).toEqual(upTo(3));
    });

    it("leaves a socket that fell mute although it was asked", async () => {
        server.publish(id, 2);
        const rushes = client();
        const { all } = joined(rushes);
        await until(rushes.connection, ({ state, transport }) => state === "live" && transport === "websocket");
        server.faults = { muteSockets: true };
        await until(rushes.connection, ({ state, transport }) => state === "live" && transport === "sse");
        expect(server.count("ws ping")).toBeGreaterThan(0);
        server.publish(id, 1, 3);
        expect(await all).toEqual(upTo(3));
    });

    it("keeps a quiet socket that answers", async () => {
        server.publish(id, 1);
        const rushes = client();
        const { all } = joined(rushes);
        await vi.waitUntil(() => server.count("ws ping") >= 4, { timeout: 5_000 });
        expect(rushes.connection.getSnapshot()).toMatchObject({ state: "live", transport: "websocket" });
        server.publish(id, 1, 2);
        await all;
        expect(server.count("ws authenticate")).toBe(1);
    });

    it("goes down to long-poll when sockets are refused and streams are held back, and climbs back to the top", async () => {
        server.publish(id, 2);
        server.faults = { refuseSockets: 403, muteStreams: true };
        const rushes = client({ timing: { climbMs: 300 } });
        const { store, all } = joined(rushes);
        await until(rushes.connection, ({ state }) => state === "polling");
        await until(store, ({ event }) => event?.sequence === 2);
        server.faults = {};
        await until(rushes.connection, ({ state, transport }) => state === "live" && transport === "websocket");
        server.publish(id, 1, 3);
        expect(await all).toEqual(upTo(3));
        expect(store.getSnapshot().counts.holes).toBe(0);
    });

    it("takes an answer that is no stream for no stream", async () => {
        server.publish(id, 2, 2);
        server.faults = { refuseSockets: 404, refuseStreams: 200 };
        const rushes = client();
        expect(await joined(rushes).all).toEqual(upTo(2));
        expect(rushes.connection.getSnapshot().transport).toBe("poll");
    });

    it("asks the socket first when a server that was away comes back", async () => {
        server.publish(id, 2);
        const rushes = client({ timing: { climbMs: 1_000 } });
        const { store, all } = joined(rushes);
        await until(store, ({ phase }) => phase === "live");
        const { logs } = server;
        const port = Number(new URL(server.url).port);
        await server.stop();
        await until(rushes.connection, ({ state }) => state === "offline");
        expect(rushes.connection.getSnapshot().retryAt).not.toBeNull();
        server = await new ScriptedServer().start(port);
        for (const [name, log] of logs) server.logs.set(name, log);
        await until(rushes.connection, ({ state, transport }) => state === "live" && transport === "websocket");
        server.publish(id, 1, 3);
        expect(await all).toEqual(upTo(3));
    });

    it("works without any WebSocket", async () => {
        server.publish(id, 2, 2);
        vi.stubGlobal("WebSocket", undefined);
        const without = client({ WebSocket: undefined });
        vi.unstubAllGlobals();
        expect(await collect(without.watch(id, { after: "start" }))).toEqual(upTo(2));
        expect(without.connection.getSnapshot().transport).toBe("sse");
    });

    it("changes the transport on request, and comes back from a cut", async () => {
        server.publish(id, 1);
        const rushes = client();
        const { store, all } = joined(rushes);
        await until(store, ({ phase }) => phase === "live");
        for (const [rung, state] of [["sse", "live"], ["poll", "polling"], ["websocket", "live"]] as const) {
            rushes.connection.use([rung]);
            await until(rushes.connection, (now) => now.state === state && now.transport === rung);
            await until(store, ({ phase }) => phase === "live");
            rushes.connection.cut();
            expect(rushes.connection.getSnapshot().state).toBe("reconnecting");
            server.publish(id, 1);
            await until(rushes.connection, (now) => now.state === state);
        }
        server.publish(id, 1, 5);
        expect(await all).toEqual(upTo(5));
    });
});

describe("a stream whose token is over", () => {
    it("comes back with the token that a call was given meanwhile", async () => {
        server.publish(id, 2);
        server.tokens = new Set(["first"]);
        // Most keep a token for as long as it is good.
        let kept = "first";
        const rushes = client({ transports: ["sse"], getToken: () => kept });
        const store = rushes.watch(id, { after: "start" });
        const leave = store.subscribe(() => {});
        await until(store, ({ phase, event }) => phase === "live" && event?.sequence === 2);
        server.tokens = new Set(["second"]);
        kept = "second";
        await rushes.get(id);
        server.expireStreams();
        await until(rushes.connection, ({ state }) => state !== "live");
        await until(rushes.connection, ({ state }) => state === "live", 5_000);
        server.publish(id, 1, 3);
        expect(await until(store, ({ phase }) => phase === "ended")).toMatchObject({ event: { sequence: 3 }, counts: { holes: 0 } });
        leave();
    });
});

describe("the socket", () => {
    it("is one for all stores, and closed when nobody looks any more", async () => {
        const rushes = client();
        const ids = Array.from({ length: 30 }, (_, index) => `gen_${index}`);
        for (const one of ids) server.publish(one, 1);
        const stores = ids.map((one) => rushes.watch(one));
        const leave = stores.map((store) => store.subscribe(() => {}));
        await Promise.all(stores.map((store) => until(store, ({ phase }) => phase === "live")));
        expect(server.sockets.size).toBe(1);
        leave[0]?.();
        await vi.waitUntil(() => server.count("ws unsubscribe gen_0") === 1);
        for (const stop of leave) stop();
        await vi.waitUntil(() => server.sockets.size === 0);
        expect(rushes.connection.getSnapshot().state).toBe("offline");
    });

    it("comes back when the server says, not before", async () => {
        server.publish(id, 1);
        const rushes = client();
        const store = rushes.watch(id);
        const leave = store.subscribe(() => {});
        await until(store, ({ phase }) => phase === "live");
        const before = Date.now();
        server.says({ type: "reconnect", afterMs: 300, reason: "drain" });
        for (const socket of server.sockets) socket.close(1001);
        const { retryAt } = await until(rushes.connection, ({ state }) => state === "reconnecting");
        expect(retryAt as number).toBeGreaterThanOrEqual(before + 300);
        await until(rushes.connection, ({ state }) => state === "live");
        expect(Date.now()).toBeGreaterThanOrEqual(before + 300);
        leave();
    });

    it("asks for no pictures while all who want them are paused, and never slows the generator for them", async () => {
        server.publish(id, 1);
        const store = client().watch(id);
        const leave = store.subscribe(() => {});
        await until(store, ({ phase }) => phase === "live");
        const small = store.watchFrames({ maxWidth: 192, maxFps: 5 }, () => {});
        const large = store.watchFrames({ maxWidth: 854, delivery: "all" }, () => {});
        expect(store.wanted).toMatchObject({ paused: false, frames: { maxWidth: 854, maxFps: 12, delivery: "all" } });
        large.pause(true);
        expect(store.wanted).toMatchObject({ paused: false, frames: { maxWidth: 192, maxFps: 5, delivery: "latest" } });
        small.pause(true);
        expect(store.wanted).toMatchObject({ paused: true, frames: { delivery: "latest" } });
        await vi.waitUntil(() => server.count(`ws credit ${id}`) >= 1);
        large.stop();
        small.stop();
        expect(store.wanted.frames).toBeNull();
        leave();
    });

    it("asks again when it was told to slow down", async () => {
        server.publish(id, 2, 2);
        vi.spyOn(Math, "random").mockReturnValue(0);
        const log = server.logs.get(id) as GenerationEvent[];
        server.logs.set(id, []);
        server.refusal = { code: "rate_limited", error: "slow down", retryable: true };
        const all = collect(client({ timing: { refusedMs: 50 } }).watch(id, { after: "start" }));
        await vi.waitUntil(() => server.count("ws subscribe") === 1);
        server.refusal = null;
        server.logs.set(id, log);
        expect(await all).toEqual([1, 2]);
        expect(server.count("ws authenticate")).toBe(1);
        vi.restoreAllMocks();
    });

    it("leaves again what it could not leave, and says each thing once for many refusals", async () => {
        const all = Array.from({ length: 10 }, (_, index) => `gen_${index}`);
        for (const one of all) server.publish(one, 1);
        const rushes = client({ timing: { refusedMs: 50 } });
        const leave = all.map((one) => rushes.watch(one).subscribe(() => {}));
        await Promise.all(all.map((one) => until(rushes.watch(one), ({ phase }) => phase === "live")));
        server.refusal = { code: "rate_limited", error: "slow down", retryable: true };
        for (const stop of leave.slice(1)) stop();
        await vi.waitUntil(() => server.count("ws unsubscribe") === 9);
        server.refusal = null;
        await vi.waitUntil(() => server.count("ws unsubscribe") === 18, { timeout: 2_000 });
        // What is refused while it waits adds no wait of its own.
        server.refusal = { code: "rate_limited", error: "slow down", retryable: true };
        const again = all.slice(1).map((one) => rushes.watch(one).subscribe(() => {}));
        await vi.waitUntil(() => server.count("ws subscribe") === 19);
        server.refusal = null;
        await Promise.all(all.map((one) => until(rushes.watch(one), ({ phase }) => phase === "live")));
        const before = server.count("ws ping");
        await vi.waitUntil(() => server.count("ws ping") > before);
        expect([server.count("ws subscribe"), server.count("ws unsubscribe"), server.count("ws authenticate")]).toEqual([28, 18, 1]);
        for (const stop of [...again, leave[0]]) stop?.();
    });

    it("shares one store for one generation", () => {
        const rushes = client();
        expect(rushes.watch(id)).toBe(rushes.watch(id));
    });

});

describe("a store", () => {
    it("keeps its snapshot until something changes, and survives listeners that throw", async () => {
        server.publish(id, 2);
        const store = client().watch(id);
        const told = vi.spyOn(console, "error").mockImplementation(() => {});
        const seen: unknown[] = [];
        store.subscribe(() => {
            throw new Error("a bug of the page");
        });
        store.subscribe(() => seen.push(store.getSnapshot()));
        await until(store, ({ phase }) => phase === "live");
        expect(store.getSnapshot()).toBe(store.getSnapshot());
        expect(new Set(seen).size).toBe(seen.length);
        expect(told).toHaveBeenCalled();
        told.mockRestore();
    });

    it("is refused when the client is closed", async () => {
        server.publish(id, 1);
        const rushes = client();
        const all = collect(rushes.watch(id));
        rushes.close();
        await expect(all).rejects.toMatchObject({ code: "closed" });
        await expect(collect(rushes.watch("gen_b"))).rejects.toMatchObject({ code: "closed" });
    });

    it("refuses ids and positions that are none", () => {
        const rushes = client();
        expect(() => rushes.watch("../x")).toThrow(expect.objectContaining({ code: "invalid_request" }));
        expect(() => rushes.watch(id, { after: "K:1" })).toThrow(expect.objectContaining({ code: "invalid_position" }));
    });

    it("goes on with the newest event when its reader was away for longer than it keeps", async () => {
        const store = client().watch(id, { after: "start" });
        server.publish(id, 1);
        const events = store.events();
        expect((await events.next()).value?.sequence).toBe(1);
        server.publish(id, 1_999, 2_000);
        await until(store, ({ phase }) => phase === "ended");
        const rest = await collect(events);
        expect(rest.at(-1)).toBe(2_000);
        expect(rest.length).toBeLessThanOrEqual(1_024);
    });
});

describe("calls", () => {
    it("repeats a submission under the same key until it is answered", async () => {
        let left = 2;
        server.faults = { status: () => (left-- > 0 ? { status: 503, headers: { "retry-after": "0" }, body: { error: { code: "unavailable", message: "starting", retryable: true } } } : null) };
        const accepted = await client().submit({ prompt: "a lake" });
        expect(accepted.generation.id).toBe("gen_new");
        expect(server.bodies).toHaveLength(3);
        expect(new Set(server.bodies.map(({ key }) => key)).size).toBe(1);
        expect(server.bodies[0]).toMatchObject({ body: { prompt: "a lake" } });
    });

    it("does not repeat what cannot succeed", async () => {
        server.faults = { status: () => ({ status: 422, body: { error: { code: "invalid_input", message: "width", hint: "64 to 1920", retryable: false, details: { max: 1920 } } } }) };
        await expect(client().submit({ prompt: "x" })).rejects.toMatchObject({
            name: "RushesError", code: "invalid_input", hint: "64 to 1920", retryable: false, status: 422, details: { max: 1920 },
        });
        expect(server.bodies).toHaveLength(1);
    });

    it("waits as long as the server asks before it repeats", async () => {
        let left = 1;
        server.publish(id, 1);
        server.faults = { status: () => (left-- > 0 ? { status: 429, headers: { "retry-after": "1" }, body: { error: { code: "rate_limited", message: "", retryable: true } } } : null) };
        const before = Date.now();
        await client().get(id);
        expect(Date.now() - before).toBeGreaterThanOrEqual(990);
    });

    it("rejects with the signal's reason when it is aborted, before, during and between", async () => {
        const rushes = client();
        await expect(rushes.get(id, { signal: AbortSignal.abort(new Error("before")) })).rejects.toThrow("before");
        server.faults = { status: () => ({ status: 503, headers: { "retry-after": "60" }, body: { error: { code: "unavailable", message: "", retryable: true } } }) };
        const stop = new AbortController();
        const call = rushes.get(id, { signal: stop.signal });
        await vi.waitUntil(() => server.count("GET") === 1);
        stop.abort(new Error("between"));
        await expect(call).rejects.toThrow("between");
    });

    it("says unreachable when nobody is there", async () => {
        const { url } = server;
        await server.stop();
        await expect(client({ url }).get(id)).rejects.toMatchObject({ code: "unreachable", retryable: true });
        await server.start();
    });
});
