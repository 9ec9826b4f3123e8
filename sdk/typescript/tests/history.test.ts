import { describe, expect, it } from "vitest";
import { RushesError } from "../src/errors.ts";
import type { Hint } from "../src/event.ts";
import { beginHistory, isOver, reduce, type Begin, type Effect, type History, type Input } from "../src/history.ts";
import { eventOf, randomOf, SEED } from "./support.ts";

const id = "gen_a";
const at = (sequence: number) => `k:${sequence}`;
const event = (sequence: number, more: Partial<Input & { kind: "event" }> = {}): Input => ({
    kind: "event", event: eventOf(id, sequence, 9), position: at(sequence), ...more,
});
const hint = (sequence: number, tick: number): Input => ({
    kind: "hint", hint: { ...eventOf(id, sequence), ephemeral: true, tick } as Hint,
});
const subscribed = (sequence: number): Input => ({ kind: "subscribed", position: at(sequence) });

function run(begin: Begin, ...inputs: Input[]): { history: History; effects: Effect[] } {
    let history = beginHistory(id, begin);
    const effects = inputs.map((input) => {
        const [next, effect] = reduce(history, input);
        history = next;
        return effect;
    });
    return { history, effects };
}

describe("what a watcher knows", () => {
    it("takes events in order and keeps the position", () => {
        const { history } = run({ after: "start" }, event(1), event(2), subscribed(2), event(3));
        expect(history.state).toMatchObject({ phase: "live", position: at(3), event: { sequence: 3 }, counts: { events: 3, repeats: 0, holes: 0 } });
        expect(history.state.recent.map(({ sequence }) => sequence)).toEqual([1, 2, 3]);
    });

    it("drops repeats and counts them", () => {
        const { history, effects } = run({ after: "start" }, event(1), event(2), event(1), event(2), event(3));
        expect(history.state.counts).toMatchObject({ events: 3, repeats: 2, holes: 0 });
        expect(effects.every((effect) => effect === "none")).toBe(true);
    });

    it("learns its position from a repeat of the last event, when a page says it there only", () => {
        const { history } = run({ after: "start" }, { kind: "event", event: eventOf(id, 1) }, event(1));
        expect(history.state).toMatchObject({ position: at(1), counts: { events: 1, repeats: 1 } });
    });

    it("goes back to its position at a hole, once, and waits for what is missing", () => {
        const { history, effects } = run({ after: "start" }, event(1), event(3), event(4), event(2), event(3), event(4), subscribed(4));
        expect(effects).toEqual(["none", "resume", "none", "none", "none", "none", "none"]);
        expect(history.state).toMatchObject({ phase: "live", position: at(4), counts: { events: 4, holes: 1, repeats: 0 } });
    });

    it("asks for the current state when it ended at the position that was kept", () => {
        const { history, effects } = run({ after: at(7) }, { kind: "done" }, event(7, { snapshot: true }));
        expect(effects).toEqual(["resume", "none"]);
        expect(history.state.event?.sequence).toBe(7);
    });

    it("gives the connection up when going back did not help", () => {
        const { effects } = run({ after: "start" }, event(1), event(3), event(3), subscribed(3));
        expect(effects).toEqual(["none", "resume", "none", "reconnect"]);
    });

    it("finds the loss of the last events by the position it caught up to", () => {
        const { history, effects } = run({ after: "start" }, event(1), subscribed(1), { kind: "disconnected" }, subscribed(3));
        expect(effects.at(-1)).toBe("resume");
        expect(history.state).toMatchObject({ phase: "joining", counts: { holes: 1 } });
    });

    it("misses the end when it is told of it and has not seen it", () => {
        const { history, effects } = run({ after: "start" }, event(1), { kind: "done" });
        expect(effects).toEqual(["none", "resume"]);
        expect(history.state.phase).toBe("joining");
    });

    it("asks for the current state when all it has is the position of the end", () => {
        const { history, effects } = run({ after: at(9) }, subscribed(9), { kind: "done" });
        expect(effects).toEqual(["none", "resume"]);
        expect(history.state.position).toBeNull();
        expect(reduce(history, event(9, { snapshot: true }))[0].state).toMatchObject({ phase: "ended", position: at(9) });
    });

    it("takes skipped progress for skipped only from where it stands", () => {
        const { history, effects } = run({ after: "start" }, event(1), event(4, { previous: 1 }), event(7, { previous: 6 }));
        expect(effects).toEqual(["none", "none", "resume"]);
        expect(history.state.counts).toMatchObject({ events: 2, skipped: 2, holes: 1 });
    });

    it("goes on from the state it is given when the position is gone, even if its sequence is lower", () => {
        const { history } = run({ after: "start" }, event(1), event(2), event(3), {
            kind: "event", event: { ...eventOf(id, 1), eventId: "other" }, position: "z:1", snapshot: true,
        }, { kind: "event", event: eventOf(id, 2), position: "z:2" });
        expect(history.state).toMatchObject({ position: "z:2", event: { sequence: 2 }, counts: { snapshots: 1, events: 5 } });
    });

    it("begins with a state that is known, and does not take it twice", () => {
        const { history } = run({ after: at(1), event: eventOf(id, 1) }, event(1, { snapshot: true }), event(2), subscribed(2));
        expect(history.state).toMatchObject({ position: at(2), phase: "live", counts: { events: 2, repeats: 1, snapshots: 0, holes: 0 } });
    });

    it("shows hints only above what it has shown, until the next event", () => {
        let { history } = run({ after: "start" }, event(1), event(2), hint(1, 9), hint(2, 2), hint(2, 1));
        expect(history.state.hint).toMatchObject({ sequence: 2, tick: 2 });
        [history] = reduce(history, hint(2, 3));
        expect(history.state.hint?.tick).toBe(3);
        [history] = reduce(history, event(3));
        expect(history.state.hint).toBeNull();
    });

    it("changes nothing after the end", () => {
        const { history } = run({ after: "start" }, ...[1, 2, 3, 4, 5, 6, 7, 8, 9].map((n) => event(n)), event(9), subscribed(3), { kind: "disconnected" });
        expect(history.state).toMatchObject({ phase: "ended", position: at(9), counts: { events: 9, repeats: 1 } });
    });

    it("keeps why it was refused or is gone", () => {
        const error = new RushesError("not_found", "no such generation", false);
        expect(run({}, { kind: "refused", error }).history.state).toMatchObject({ phase: "refused", error });
        expect(run({}, event(1), { kind: "gone", error }).history.state).toMatchObject({ phase: "gone", error });
    });

    it("is the same object until something changes", () => {
        const { history } = run({ after: "start" }, event(1), subscribed(1), hint(1, 2));
        for (const input of [subscribed(1), hint(1, 1), hint(1, 2)] as const) {
            expect(reduce(history, input)[0].state).toBe(history.state);
        }
    });

    it(`ends complete whatever a connection loses, repeats or cuts (SEED=${SEED})`, () => {
        const random = randomOf(SEED);
        for (let round = 0; round < 400; round += 1) {
            const last = 2 + Math.floor(random() * 30);
            let history = beginHistory(id, { after: "start" });
            const seen: number[] = [];
            for (let connections = 0; !isOver(history.state.phase); connections += 1) {
                if (connections > 2_000) throw new Error(`never ended in round ${round}`);
                const from = history.state.position === "start" ? 0 : Number(history.state.position?.slice(2));
                const inputs: Input[] = [];
                for (let n = from + 1; n <= last; n += 1) {
                    if (random() < 0.1) continue;
                    inputs.push({ kind: "event", event: eventOf(id, n, last), position: at(n) });
                    if (random() < 0.1) inputs.push({ kind: "event", event: eventOf(id, 1 + Math.floor(random() * n), last), position: at(n) });
                }
                inputs.push({ kind: "subscribed", position: at(last) }, { kind: "done" });
                // A repeat under a position of another event would be a lie no server tells.
                for (const [index, input] of inputs.entries()) {
                    if (input.kind === "event") inputs[index] = { ...input, position: at(input.event.sequence) };
                }
                for (const input of random() < 0.3 ? inputs.slice(0, Math.floor(random() * inputs.length)) : inputs) {
                    const before = history.state.event;
                    const [next, effect] = reduce(history, input);
                    history = next;
                    if (history.state.event !== before && history.state.event) seen.push(history.state.event.sequence);
                    if (effect !== "none") break;
                }
                history = reduce(history, { kind: "disconnected" })[0];
            }
            expect(seen).toEqual(Array.from({ length: last }, (_, index) => index + 1));
        }
    });
});
