// The list of one's own, kept live over each rung, against a server that is told what to do.

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { WebSocket } from "ws";
import { Rushes, type GenerationStore, type Options, type Rung } from "../src/index.ts";
import { Mine, type MineSnapshot } from "../src/mine.ts";
import { ScriptedServer } from "./scripted.ts";
import { eventOf, until } from "./support.ts";

const timing = { backoffMinMs: 20, backoffMaxMs: 60, openMs: 500, pollMs: 1_000, turnMs: 20, lingerMs: 10, climbMs: 60_000 };
let server: ScriptedServer;
let clients: Rushes[] = [];

function client(options: Partial<Options> = {}): Rushes {
    const made = new Rushes({ url: server.url, WebSocket, getToken: () => "good", timing, ...options });
    clients.push(made);
    return made;
}
const ids = ({ generations }: MineSnapshot) => generations.map(({ id }) => id);
const stands = ({ generations }: MineSnapshot) => Object.fromEntries(generations.map(({ id, status }) => [id, status.sequence]));

beforeEach(async () => {
    server = await new ScriptedServer().start();
});
afterEach(async () => {
    for (const made of clients) made.close();
    clients = [];
    await server.stop();
});

describe.each<Rung>(["websocket", "sse", "poll"])("over %s, the list of one's own", (rung) => {
    const only = { transports: [rung] };

    it("shows what there is, what comes and what changes", async () => {
        server.publish("gen_a", 3, 3);
        server.publish("gen_b", 2);
        const mine = new Mine(client(only));
        expect(mine.getSnapshot()).toMatchObject({ phase: "loading", generations: [] });
        const leave = mine.subscribe(() => {});
        expect(ids(await until(mine, ({ phase }) => phase === "live"))).toEqual(["gen_b", "gen_a"]);
        server.publish("gen_c", 1);
        expect(ids(await until(mine, ({ generations }) => generations.length === 3))).toEqual(["gen_c", "gen_b", "gen_a"]);
        server.publish("gen_b", 3, 5);
        const { generations } = await until(mine, (now) => stands(now).gen_b === 5);
        expect(generations[1]).toMatchObject({ id: "gen_b", state: "complete" });
        leave();
    });

    it("knows after a cut what came meanwhile and what was deleted meanwhile", async () => {
        server.publish("gen_a", 2);
        server.publish("gen_b", 3, 3);
        const rushes = client(only);
        const mine = new Mine(rushes);
        const leave = mine.subscribe(() => {});
        await until(mine, ({ phase }) => phase === "live");
        server.logs.delete("gen_b");
        server.cutAll();
        server.publish("gen_a", 2);
        server.publish("gen_c", 4, 4);
        const now = await until(mine, (now) => stands(now).gen_c === 4 && stands(now).gen_a === 4 && !("gen_b" in stands(now)));
        expect(ids(now)).toEqual(["gen_c", "gen_a"]);
        leave();
    });

    it("stands beside stores of the same generations, and disturbs none of them", async () => {
        server.publish("gen_a", 2);
        const rushes = client(only);
        const mine = new Mine(rushes);
        const leaveMine = mine.subscribe(() => {});
        await until(mine, ({ phase }) => phase === "live");
        const store = rushes.watch("gen_a", { after: "k:1" });
        const leave = store.subscribe(() => {});
        await until(store, ({ phase, event }) => phase === "live" && event?.sequence === 2);
        server.publish("gen_a", 2);
        await until(store, ({ event }) => event?.sequence === 4);
        // What a return brings of it comes from its own position, and not from the list's.
        server.publish("gen_b", 1);
        server.cutAll();
        server.publish("gen_a", 3);
        await until(store, ({ event, phase }) => event?.sequence === 7 && phase === "live");
        expect(store.getSnapshot().counts).toMatchObject({ holes: 0, snapshots: 0 });
        leave();
        server.publish("gen_a", 1);
        await until(mine, (now) => stands(now).gen_a === 8);
        leaveMine();
    });
});

describe("on the socket of the list of one's own, a store", () => {
    /** What the list tells of `gen_a` while the store's first message is on its way. */
    function meanwhile(tell: () => void): void {
        server.faults.meanwhile = (message) => {
            if (message.generationId !== "gen_a") return;
            server.faults = {};
            tell();
        };
    }
    const tells = (sequence: number, more: object = {}) =>
        server.says({ type: "status_update", generationId: "gen_a", data: eventOf("gen_a", sequence), position: server.position(sequence), ...more });
    const begins: [string, (rushes: Rushes) => Promise<GenerationStore>, number[]][] = [
        ["a kept position", async (rushes) => rushes.watch("gen_a", { after: "k:2" }), [3, 4, 5, 6, 7]],
        ["the start", async (rushes) => rushes.watch("gen_a", { after: "start" }), [1, 2, 3, 4, 5, 6, 7]],
        ["an event", async (rushes) => rushes.watch(await rushes.get("gen_a")), [4, 5, 6, 7]],
        ["the current state", async (rushes) => rushes.watch("gen_a"), [6, 7]],
    ];
    const whiles: [string, () => void][] = [
        ["its newest event", () => [5, 6].forEach((sequence) => tells(sequence))],
        ["what progress was left out for", () => tells(6, { previous: 3 })],
        ["its state", () => tells(5, { recovery: "snapshot" })],
        ["its end", () => server.says({ type: "done", generationId: "gen_a" })],
    ];
    const cases = begins.flatMap(([begin, open, all]) => whiles.map(([what, tell]) => ({ begin, open, all, what, tell })));

    it.each(cases)("that begins with $begin takes its own only when the list says $what first", async ({ open, all, tell }) => {
        server.publish("gen_a", 4);
        const rushes = client({ transports: ["websocket"] });
        const mine = new Mine(rushes);
        const leaveMine = mine.subscribe(() => {});
        await until(mine, ({ phase }) => phase === "live");
        const store = await open(rushes);
        meanwhile(() => {
            // The store's own subscription finds all of it; the list has told of a part.
            server.logs.get("gen_a")?.push(eventOf("gen_a", 5), eventOf("gen_a", 6));
            tell();
        });
        const leave = store.subscribe(() => {});
        await until(store, ({ phase, event }) => phase === "live" && event?.sequence === 6);
        server.publish("gen_a", 1);
        const { recent, counts } = await until(store, ({ event }) => event?.sequence === 7);
        expect(recent.map(({ sequence }) => sequence)).toEqual(all);
        expect(counts).toEqual({ events: all.length, repeats: 0, holes: 0, skipped: 0, snapshots: 0 });
        leave();
        leaveMine();
    });

    it("lets the list hear what it does not take", async () => {
        server.publish("gen_a", 4);
        const rushes = client({ transports: ["websocket"] });
        const mine = new Mine(rushes);
        const leaveMine = mine.subscribe(() => {});
        await until(mine, ({ phase }) => phase === "live");
        meanwhile(() => tells(9));
        const store = rushes.watch("gen_a", { after: "k:2" });
        const leave = store.subscribe(() => {});
        await until(mine, (now) => stands(now).gen_a === 9);
        expect((await until(store, ({ phase }) => phase === "live")).recent.map(({ sequence }) => sequence)).toEqual([3, 4]);
        leave();
        leaveMine();
    });

    it("leaves its generation to the list though it was told to slow down", async () => {
        server.publish("gen_a", 4);
        const rushes = client({ transports: ["websocket"], timing: { ...timing, refusedMs: 50 } });
        const mine = new Mine(rushes);
        const leaveMine = mine.subscribe(() => {});
        await until(mine, ({ phase }) => phase === "live");
        server.refusal = { code: "rate_limited", error: "slow down", retryable: true };
        rushes.watch("gen_a", { after: "k:2" }).subscribe(() => {})();
        await vi.waitUntil(() => server.count("ws unsubscribe gen_a") === 2);
        server.refusal = null;
        await vi.waitUntil(() => server.count("ws unsubscribe gen_a") === 3, { timeout: 2_000 });
        server.publish("gen_a", 1);
        await until(mine, (now) => stands(now).gen_a === 5, 5_000);
        leaveMine();
    });

    it("misses nothing when it was told to slow down, and when it left and came again at once", async () => {
        server.publish("gen_a", 4);
        vi.spyOn(Math, "random").mockReturnValue(0);
        const rushes = client({ transports: ["websocket"], timing: { ...timing, refusedMs: 50 } });
        const mine = new Mine(rushes);
        const leaveMine = mine.subscribe(() => {});
        await until(mine, ({ phase }) => phase === "live");
        server.refusal = { code: "rate_limited", error: "slow down", retryable: true };
        const store = rushes.watch("gen_a", { after: "k:2" });
        store.subscribe(() => {})();
        const leave = store.subscribe(() => {});
        await vi.waitUntil(() => server.count("ws subscribe gen_a") === 2);
        tells(4);
        server.refusal = null;
        await until(store, ({ phase }) => phase === "live");
        server.publish("gen_a", 1);
        const { recent, counts } = await until(store, ({ event }) => event?.sequence === 5);
        expect(recent.map(({ sequence }) => sequence)).toEqual([3, 4, 5]);
        expect(counts.holes).toBe(0);
        vi.restoreAllMocks();
        leave();
        leaveMine();
    });
});

describe("the list of one's own", () => {
    it("keeps its snapshot until something changes, and lets go when nobody listens", async () => {
        server.publish("gen_a", 1);
        const mine = new Mine(client());
        const seen: unknown[] = [];
        const leave = mine.subscribe(() => seen.push(mine.getSnapshot()));
        await until(mine, ({ phase }) => phase === "live");
        expect(mine.getSnapshot()).toBe(mine.getSnapshot());
        expect(new Set(seen).size).toBe(seen.length);
        leave();
        await vi.waitUntil(() => server.sockets.size === 0);
    });

    it("comes in pages, and grows when asked", async () => {
        for (let index = 0; index < 7; index += 1) server.publish(`gen_${index}`, 2, 2);
        const mine = new Mine(client(), { pageSize: 3 });
        const leave = mine.subscribe(() => {});
        expect(await until(mine, ({ phase }) => phase === "live")).toMatchObject({ hasMore: true });
        expect(ids(mine.getSnapshot())).toEqual(["gen_6", "gen_5", "gen_4"]);
        await mine.more();
        await until(mine, ({ generations }) => generations.length === 6);
        await mine.more();
        expect(await until(mine, ({ generations }) => generations.length === 7)).toMatchObject({ hasMore: false });
        leave();
    });

    it("asks once for a generation below the ones it shows, and for none at all when it comes back", async () => {
        for (let index = 0; index < 60; index += 1) server.publish(`gen_${index}`, 2);
        const rushes = client({ transports: ["websocket"] });
        const mine = new Mine(rushes, { pageSize: 3 });
        const leave = mine.subscribe(() => {});
        // The last event of a round is of a tile that is shown, so all before it were heard.
        const shown = async (sequence: number) => until(mine, ({ phase, generations }) => phase === "live" && generations[0]?.status.sequence === sequence);
        const asked = () => server.asked.filter((line) => /^GET [/]v1[/]generations[/]/.test(line));
        await shown(2);
        expect(asked(), "the list that is read when it is live says what there is").toEqual([]);
        for (let sequence = 3; sequence <= 8; sequence += 1) {
            for (const index of [0, 1, 59]) server.publish(`gen_${index}`, 1);
            await shown(sequence);
            await vi.waitUntil(() => asked().length >= 2);
        }
        expect(asked().sort()).toEqual(["GET /v1/generations/gen_0", "GET /v1/generations/gen_1"]);
        server.cutAll();
        server.publish("gen_59", 1);
        await shown(9);
        expect(asked().length).toBe(2);
        expect(ids(mine.getSnapshot())).toEqual(["gen_59", "gen_58", "gen_57"]);
        leave();
    });

    it("asks for a few at a time, and reads the list instead where there are many", async () => {
        server.publish("gen_old", 2);
        let [open, most] = [0, 0];
        const counting: typeof fetch = async (input, init) => {
            const isOne = /generations[/]/.test(String(input));
            if (isOne) most = Math.max(most, (open += 1));
            try {
                return await fetch(input, init);
            } finally {
                if (isOne) open -= 1;
            }
        };
        const mine = new Mine(client({ transports: ["websocket"], fetch: counting }), { pageSize: 50 });
        const leave = mine.subscribe(() => {});
        await until(mine, ({ phase }) => phase === "live");
        for (let index = 0; index < 40; index += 1) server.publish(`gen_${index}`, 1);
        await until(mine, ({ generations }) => generations.length === 41, 5_000);
        expect(most).toBeGreaterThan(0);
        expect(most).toBeLessThanOrEqual(4);
        leave();
    });

    it("drops at once what is deleted through it", async () => {
        server.publish("gen_a", 2, 2);
        server.publish("gen_b", 2, 2);
        const mine = new Mine(client());
        const leave = mine.subscribe(() => {});
        await until(mine, ({ phase }) => phase === "live");
        await mine.delete("gen_a");
        expect(ids(mine.getSnapshot())).toEqual(["gen_b"]);
        leave();
    });

    it("drops what was deleted as soon as it had ended, and is not found when its files are asked for", async () => {
        server.publish("gen_a", 2);
        server.publish("gen_b", 2);
        const mine = new Mine(client({ transports: ["websocket"] }));
        const leave = mine.subscribe(() => {});
        await until(mine, ({ phase }) => phase === "live");
        const asked = server.count("GET /v1/generations");
        server.publish("gen_a", 1, 3);
        server.logs.delete("gen_a");
        expect(ids(await until(mine, (now) => !("gen_a" in stands(now))))).toEqual(["gen_b"]);
        expect(server.count("GET /v1/generations"), "one question, and no list read anew").toBe(asked + 1);
        leave();
    });

    it.each(["it is read again", "somebody listens again"])("comes back from a refusal when %s", async (how) => {
        server.publish("gen_a", 2);
        // A proxy that says no, in no protocol.
        server.faults = { status: (path) => (path === "/v1/generations" ? { status: 403 } : null) };
        const mine = new Mine(client());
        let leave = mine.subscribe(() => {});
        expect(await until(mine, ({ phase }) => phase === "refused")).toMatchObject({ error: { code: "bad_answer", retryable: false } });
        server.faults = {};
        if (how === "it is read again") await mine.refresh();
        else {
            leave();
            leave = mine.subscribe(() => {});
        }
        expect(await until(mine, ({ phase }) => phase === "live", 5_000)).toMatchObject({ error: null });
        server.publish("gen_b", 1);
        expect(ids(await until(mine, ({ generations }) => generations.length === 2, 5_000))).toEqual(["gen_b", "gen_a"]);
        leave();
    });

    it("asks no more over long-poll for changes that are refused, and shows what the lists say", async () => {
        server.publish("gen_a", 1);
        const error = { code: "invalid_request", message: "not here", hint: "", retryable: false };
        server.faults = { status: (path) => (path === "/v1/events" ? { status: 400, body: { error } } : null) };
        const mine = new Mine(client({ transports: ["poll"] }));
        const leave = mine.subscribe(() => {});
        await vi.waitUntil(() => server.count("GET /v1/events") > 0);
        // Meanwhile a loop would ask many times.
        for (let turn = 0; turn < 5; turn += 1) await mine.refresh();
        expect(ids(mine.getSnapshot())).toEqual(["gen_a"]);
        expect(server.count("GET /v1/events")).toBe(1);
        leave();
    });

    it("says what is wrong when the token is none, and when the client was closed", async () => {
        server.tokens = new Set();
        const rushes = client();
        const mine = new Mine(rushes);
        mine.subscribe(() => {});
        expect(await until(mine, ({ phase }) => phase === "refused")).toMatchObject({ error: { code: "unauthorized" } });
        server.tokens = null;
        const other = client();
        const second = new Mine(other);
        second.subscribe(() => {});
        other.close();
        expect(await until(second, ({ phase }) => phase === "refused")).toMatchObject({ error: { code: "closed" } });
        // Calls go on without a connection, and the list says still what will not come.
        await second.refresh();
        expect(second.getSnapshot()).toMatchObject({ phase: "refused", error: { code: "closed" } });
    });
});

describe("a client", () => {
    it("refuses the 513th generation with an error that says so, and takes it when there is room", async () => {
        for (let index = 0; index <= 512; index += 1) server.publish(`gen_${index}`, 1);
        const rushes = client({ transports: ["websocket"] });
        const stores = Array.from({ length: 512 }, (_, index) => rushes.watch(`gen_${index}`));
        const leave = stores.map((store) => store.subscribe(() => {}));
        const refused = rushes.watch("gen_512");
        const leaveRefused = refused.subscribe(() => {});
        expect(refused.getSnapshot()).toMatchObject({ phase: "refused", error: { code: "too_many", retryable: true } });
        leaveRefused();
        await until(stores[511] as (typeof stores)[0], ({ phase }) => phase === "live");
        leave[0]?.();
        const again = rushes.watch("gen_512");
        const leaveAgain = again.subscribe(() => {});
        await until(again, ({ phase }) => phase === "live");
        for (const stop of [...leave, leaveAgain]) stop();
    });

    it("follows sixty generations over two streams of events, each from its own position", async () => {
        const all = Array.from({ length: 60 }, (_, index) => `gen_${index}`);
        for (const id of all) server.publish(id, 3);
        const rushes = client({ transports: ["sse"] });
        const stores = all.map((id, index) => rushes.watch(id, { after: index % 2 === 0 ? "k:2" : "start" }));
        const leave = stores.map((store) => store.subscribe(() => {}));
        await Promise.all(stores.map((store) => until(store, ({ event }) => event?.sequence === 3)));
        expect(server.count("GET /v1/events")).toBeLessThanOrEqual(2);
        for (const id of all) server.publish(id, 1, 4);
        await Promise.all(stores.map((store) => until(store, ({ phase }) => phase === "ended")));
        for (const store of stores) expect(store.getSnapshot().counts).toMatchObject({ holes: 0, snapshots: 0 });
        for (const stop of leave) stop();
    });

    it("goes on with the others when one of a stream is refused", async () => {
        for (const id of ["gen_a", "gen_b"]) server.publish(id, 2);
        const rushes = client({ transports: ["sse"] });
        const [a, none, b] = ["gen_a", "gen_none", "gen_b"].map((id) => rushes.watch(id, { after: "start" }));
        const leave = [a, none, b].map((store) => store?.subscribe(() => {}));
        await until(none!, ({ phase }) => phase === "refused");
        await Promise.all([a, b].map((store) => until(store!, ({ event }) => event?.sequence === 2)));
        expect(rushes.connection.getSnapshot().state).toBe("live");
        for (const stop of leave) stop?.();
    });
});
