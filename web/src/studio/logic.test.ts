// The rules of the page that have no picture. Each test is a sentence of behaviour.

import { expect, test } from "vitest";
import type { ConnectionSnapshot, Generation, GenerationEvent, GenerationState } from "@rushes/client";
import { problemOf, rollSeed, SEED_MAX, sizeOf, SHAPES, QUALITIES, submissionOf, type Wish } from "../composer/wish.ts";
import { waitingOf } from "../stage/shown.ts";
import { readAddress, writeAddress } from "./address.ts";
import { secondsLeft } from "./estimate.ts";
import { beginLog, clocksDiffer, quantile, record, type EventLog } from "./event-log.ts";
import { ago, clock, count, duration, milliseconds, words } from "./format.ts";
import { intend } from "./intents.ts";
import { Positions } from "./positions.ts";
import { badgeOf, noticeOf, type Circumstances } from "./situation.ts";
import { stagesOf } from "./stages.ts";

const event = (sequence: number, changes: Partial<GenerationEvent> = {}): GenerationEvent => ({
    eventId: `e.${sequence}`, generationId: "gen_a", tenantId: "t", userId: "u", causalId: "c", sequence, attempt: 1,
    type: "stage_progress", state: "running", stage: "generating_frames", status: "generating_frames",
    progress: 20, message: "", timestamp: 1_000, ...changes,
});

test("the address names the open generation, and a token beside it", () => {
    expect(readAddress("#gen_06h0a")).toEqual({ generation: "gen_06h0a", token: null });
    expect(readAddress("#token=a.b.c&generation=gen_1")).toEqual({ generation: "gen_1", token: "a.b.c" });
    expect(readAddress("#<script>")).toEqual({ generation: null, token: null });
    expect(readAddress("")).toEqual({ generation: null, token: null });
    expect(readAddress(writeAddress("gen_x")).generation).toBe("gen_x");
});

test("a double click is one intent, a later click another, and what failed keeps its key", () => {
    let made = 0;
    const key = () => `k${(made += 1)}`;
    const first = intend(null, "a lake", 0, key);
    expect(first?.key).toBe("k1");
    expect(intend(first, "a lake", 10, key)).toBeNull();
    const answered = { ...first!, state: "answered" as const, at: 50 };
    expect(intend(answered, "a lake", 400, key)).toBeNull();
    expect(intend(answered, "a lake", 1_100, key)?.key).toBe("k2");
    expect(intend(answered, "a sea", 60, key)?.key).toBe("k3");
    expect(intend({ ...first!, state: "failed", at: 50 }, "a lake", 60, key)).toMatchObject({ key: "k1", state: "sending" });
});

test("positions are kept per person, bounded, and only what has their form is given back", () => {
    const held = new Map<string, string>();
    const shelf = { getItem: (key: string) => held.get(key) ?? null, setItem: (key: string, value: string) => void held.set(key, value) };
    const ada = new Positions(shelf, "ada");
    for (let at = 0; at < 70; at += 1) ada.keep(`gen_${at}`, `ep:${at}`);
    expect(ada.get("gen_69")).toBe("ep:69");
    expect(ada.get("gen_0")).toBeUndefined();
    expect(new Positions(shelf, "grace").get("gen_69")).toBeUndefined();
    ada.forget("gen_69");
    expect(ada.get("gen_69")).toBeUndefined();
    held.set("rushes.positions.ada", '[["gen_1","nonsense"],7,["gen_2","ep:4"]]');
    expect(ada.get("gen_1")).toBeUndefined();
    expect(ada.get("gen_2")).toBe("ep:4");
    held.set("rushes.positions.ada", "{broken");
    expect(ada.get("gen_2")).toBeUndefined();
});

test("storage that is full costs the resume and not the page", () => {
    const full = { getItem: () => null, setItem: () => { throw new Error("quota"); } };
    expect(() => new Positions(full, "ada").keep("gen_1", "ep:1")).not.toThrow();
});

test("stages of a film are done, running or waiting by the progress of the whole", () => {
    const states = (one: GenerationEvent) => stagesOf("video@1", one, []).map(({ state, progress }) => `${state} ${Math.round(progress ?? -1)}`);
    expect(states(event(1, { progress: 32.5 }))).toEqual(["done 100", "running 50", "waiting 0", "waiting 0", "waiting 0"]);
    expect(states(event(1, { state: "queued", type: "queued", stage: undefined as never, progress: 0 }))).toEqual(Array(5).fill("waiting 0"));
    expect(states(event(1, { state: "failed", type: "failed", stage: undefined as never, progress: 32.5 }))[1]).toBe("stopped 50");
    expect(states(event(1, { state: "complete", type: "complete", stage: undefined as never, progress: 100 }))).toEqual(Array(5).fill("done 100"));
});

test("stages of a foreign pipeline are those that were seen, without numbers", () => {
    const stages = stagesOf("count@1", event(3, { stage: "counting" }), ["loading", "counting"]);
    expect(stages).toEqual([{ name: "loading", state: "done", progress: 100 }, { name: "counting", state: "running", progress: null }]);
});

test("time left is what the server says, else the pace so far, else unknown", () => {
    expect(secondsLeft(event(1, { metadata: { estimatedSecondsRemaining: 65 } }), null)).toBe(65);
    const first = event(2, { progress: 0, timestamp: 1_000 });
    expect(secondsLeft(event(9, { progress: 25, timestamp: 11_000 }), first)).toBe(30);
    expect(secondsLeft(event(9, { progress: 60, timestamp: 11_000 }), event(5, { progress: 40, timestamp: 1_000 }))).toBe(20);
    expect(secondsLeft(event(9, { progress: 5, timestamp: 11_000 }), first)).toBeNull();
    expect(secondsLeft(event(9, { state: "queued" }), first)).toBeNull();
});

/** A store's states as they come: event by event, then a change of phase. */
function states(phase: GenerationState["phase"], ...events: GenerationEvent[]): GenerationState {
    return { id: "gen_a", phase, event: events.at(-1) ?? null, hint: null, position: null, recent: events, counts: { events: 0, repeats: 0, holes: 0, skipped: 0, snapshots: 0 }, error: null };
}

test("events of a gap are marked, counted, and are no latencies", () => {
    const [one, two, three, four] = [event(1), event(2), event(3), event(4)];
    const steps = [states("joining", one), states("live", one), states("live", one, two), states("joining", one, two), states("joining", one, two, three), states("live", one, two, three), states("live", one, two, three, four)];
    const log = steps.reduce((before: EventLog, state, at) => record(before, state, 1_000 + at), beginLog(false));
    expect(log.rows.map(({ event: { sequence }, isRefilled }) => [sequence, isRefilled])).toEqual([[1, false], [2, false], [3, true], [4, false]]);
    expect(log.refilled).toBe(1);
    expect(log.samples).toEqual([2, 6]);
});

test("after a reload what comes before the first live moment was missed", () => {
    const log = [states("joining", event(7)), states("joining", event(7), event(8)), states("live", event(7), event(8))].reduce((before: EventLog, state) => record(before, state, 0), beginLog(true));
    expect(log.refilled).toBe(2);
    expect(log.isRefilling).toBe(false);
});

test("quantiles are values that were there, and clocks that differ are found", () => {
    expect(quantile([5, 1, 3], 0.5)).toBe(3);
    expect(quantile([1, 2, 3, 4], 0.95)).toBe(4);
    expect(quantile([], 0.5)).toBeNull();
    expect(clocksDiffer([4, 9])).toBe(false);
    expect(clocksDiffer([-40, 9])).toBe(true);
    expect(clocksDiffer([61_000, 61_010])).toBe(true);
});

test("values read as people say them", () => {
    expect([duration(0.2), duration(59.6), duration(80), duration(900)]).toEqual(["1 s", "1 min", "1 min 20 s", "15 min"]);
    expect([clock(4.9), clock(61), clock(Number.NaN)]).toEqual(["0:04", "1:01", "0:00"]);
    expect([milliseconds(4.4), milliseconds(1_240)]).toEqual(["4 ms", "1.2 s"]);
    expect([ago(0, 10_000), ago(0, 240_000), ago(0, 7_200_000)]).toEqual(["just now", "4 min ago", "2 h ago"]);
    expect(words("generating_frames")).toBe("Generating frames");
    expect([count(1, "event"), count(1_200, "event")]).toEqual(["1 event", "1,200 events"]);
});

const calm: Circumstances = {
    connection: { state: "live", transport: "websocket", retryAt: null, error: null },
    isWaiting: true, isOnline: true, wasConnected: true, wasCut: false, wasChosen: false, isOutdated: false, now: 0,
};
const at = (connection: Partial<ConnectionSnapshot>, rest: Partial<Circumstances> = {}): Circumstances => ({ ...calm, ...rest, connection: { ...calm.connection, ...connection } });

test("nothing is said while all is well, nor while nothing is watched", () => {
    expect(noticeOf(calm)).toBeNull();
    expect(noticeOf(at({ state: "offline" }, { isWaiting: false }))).toBeNull();
    expect(badgeOf(at({ state: "offline" }, { isWaiting: false })).text).toBe("Ready");
    expect(noticeOf(at({ state: "reconnecting" }, { wasConnected: false }))).toBeNull();
});

test("each trouble is said in words, with what can be done", () => {
    expect(noticeOf(at({ state: "reconnecting", retryAt: 2_500 }))).toMatchObject({ text: expect.stringMatching(/your film goes on/), wait: "Trying again in 3 s.", action: "retry" });
    expect(noticeOf(at({ state: "reconnecting", retryAt: 2_500 }, { wasCut: true }))?.text).toMatch(/^You cut/);
    expect(noticeOf(at({ state: "offline", retryAt: 9_000 }))?.text).toMatch(/does not answer/);
    expect(noticeOf(at({ state: "reconnecting" }, { isOnline: false }))?.text).toMatch(/You are offline/);
    expect(noticeOf(at({ state: "polling", transport: "poll" }))?.text).toMatch(/Nothing is missed/);
    expect(noticeOf(at({ state: "polling", transport: "poll" }, { wasChosen: true }))).toBeNull();
    expect(noticeOf(at({}, { isOutdated: true }))?.action).toBe("reload");
});

test("a wish says what is wrong with it, and becomes what the server takes", () => {
    const wish: Wish = { prompt: " a lake ", shape: "9:16", quality: "HD", seconds: 4, seed: "12", isSeedKept: true };
    expect(submissionOf(wish)).toEqual({ prompt: "a lake", params: { width: 720, height: 1280, seconds: 4, seed: 12 } });
    expect(problemOf(wish)).toBeNull();
    expect(problemOf({ ...wish, prompt: "  " })).toMatch(/prompt/);
    expect(problemOf({ ...wish, prompt: "a".repeat(4_001) })).toMatch(/4001/);
    expect(problemOf({ ...wish, seed: "-1" })).toMatch(/seed/);
    expect(problemOf({ ...wish, seed: String(SEED_MAX + 1) })).toMatch(/seed/);
    expect(rollSeed(() => 0.999_999_9)).toBe("999999");
});

test("each size is even and within what the server takes", () => {
    for (const shape of SHAPES) {
        for (const quality of QUALITIES) {
            const { width, height } = sizeOf(shape, quality);
            for (const side of [width, height]) {
                expect(side % 2).toBe(0);
                expect(side).toBeGreaterThanOrEqual(64);
                expect(side).toBeLessThanOrEqual(1_920);
            }
        }
    }
});

test("who waits reads how many films are before hers, and later what it waits for", () => {
    const waiting = (changes: Partial<GenerationEvent>) => {
        const status = event(1, changes);
        return waitingOf({ status, event: status }, null)?.title;
    };
    const queued = (queuePosition?: number) => waiting({ state: "queued", type: "queued", metadata: queuePosition === undefined ? {} : { queuePosition } });
    expect([queued(), queued(1), queued(2), queued(7)]).toEqual(["In the queue", "Next in line", "1 film before yours", "6 films before yours"]);
    const status = event(1, { state: "queued", type: "queued", metadata: {} });
    expect(waitingOf({ status, event: status }, { queuePosition: 3 } as Generation)?.title, "asked for over HTTP").toBe("2 films before yours");
    expect(waiting({ state: "running", stage: "prompt_analysis" })).toBe("Reading the prompt…");
    expect(waiting({ state: "running", stage: "generating_frames" })).toBe("The first frames are on their way…");
    expect(waiting({ state: "failed" })).toBe("No film came of it");
    expect(waiting({ state: "complete", metadata: {} })).toBe("Finished, and it made no film");
    expect(waiting({ state: "complete", metadata: { videoUrl: "/film.mp4" } })).toBe(undefined);
});
