// The small pure rules: waiting, the ladder, the watchdog, close codes.

import { describe, expect, it } from "vitest";
import { backoffMs } from "../src/backoff.ts";
import { endingOfClose, endingOfError } from "../src/ending.ts";
import { RushesError } from "../src/errors.ts";
import { beginLadder, climb, climbed, lost, opened, rungOf, RUNGS, type Ladder, type Loss } from "../src/ladder.ts";
import { watch } from "../src/watchdog.ts";
import { randomOf, SEED } from "./support.ts";

const bounds = { backoffMinMs: 1_000, backoffMaxMs: 30_000 };

describe("waiting", () => {
    it.each([[1, 1_000], [2, 2_000], [3, 4_000], [5, 16_000], [6, 30_000], [5_000, 30_000]])("try %i waits at most %i ms", (attempt, most) => {
        expect(backoffMs(attempt, bounds, 1)).toBe(most);
        expect(backoffMs(attempt, bounds, 0.5)).toBe(most / 2);
    });
    it("is never nothing, and never less than the server asks for", () => {
        expect(backoffMs(1, bounds, 0)).toBe(50);
        expect(backoffMs(1, bounds, 0.5, 60_000)).toBe(60_000);
    });
    it(`spreads over all of it (SEED=${SEED})`, () => {
        const random = randomOf(SEED);
        const waits = Array.from({ length: 2_000 }, () => backoffMs(4, bounds, random()));
        for (const part of [0, 1, 2, 3]) {
            const share = waits.filter((wait) => Math.floor(wait / 2_000) === part).length / waits.length;
            expect(share).toBeGreaterThan(0.2);
        }
    });
});

describe("the ladder", () => {
    const lose = (ladder: Ladder, loss: Loss = {}, now = 0) => lost(ladder, loss, now, bounds, 1);

    it("goes down after two failures without getting through", () => {
        let { ladder } = lose(beginLadder(RUNGS));
        expect(rungOf(ladder)).toBe("websocket");
        ({ ladder } = lose(ladder));
        expect(rungOf(ladder)).toBe("sse");
    });
    it("goes down at once, and without waiting, when nothing gets through", () => {
        const { ladder, waitMs } = lose(opened(beginLadder(RUNGS), 0), { mute: true });
        expect([rungOf(ladder), waitMs]).toEqual(["sse", 0]);
        expect(rungOf(lose(ladder, { mute: true }).ladder)).toBe("poll");
    });
    it("stays where it worked when it is cut", () => {
        const { ladder } = lose(opened(lose(opened(beginLadder(RUNGS), 0)).ladder, 0));
        expect(rungOf(ladder)).toBe("websocket");
    });
    it("asks for the best way first when nobody is there on any", () => {
        const { ladder } = lose({ ...beginLadder(RUNGS), at: 2, climbs: 4 }, { unreachable: true });
        expect(rungOf(ladder)).toBe("websocket");
        expect(ladder.climbs).toBe(0);
    });
    it("stays at the bottom when the server answers with errors", () => {
        let ladder: Ladder = { ...beginLadder(RUNGS), at: 2 };
        for (let round = 0; round < 5; round += 1) ({ ladder } = lose(ladder));
        expect(rungOf(ladder)).toBe("poll");
    });
    it("waits longer each time, and anew after a connection that lasted", () => {
        let step = lose(beginLadder(["poll"]));
        const waits = [step.waitMs];
        for (let round = 0; round < 5; round += 1) waits.push((step = lose(step.ladder)).waitMs);
        expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000]);
        expect(lose(opened(step.ladder, 0), {}, 4_999).waitMs).toBe(30_000);
        expect(lose(opened(step.ladder, 0), {}, 5_000).waitMs).toBe(1_000);
    });
    it("waits as long as the server asks", () => {
        expect(lose(beginLadder(RUNGS), { afterMs: 45_000 }).waitMs).toBe(45_000);
        expect(lose(opened(beginLadder(RUNGS), 0), { mute: true, afterMs: 700 }).waitMs).toBe(700);
    });
    it("climbs later each time it is vain, to the top and to the next rung by turns", () => {
        let ladder: Ladder = { ...beginLadder(RUNGS), at: 2 };
        const plans = [];
        for (let round = 0; round < 8; round += 1) {
            plans.push(climb(ladder, 10_000, 1));
            ladder = climbed(ladder, null, 0);
        }
        expect(plans.map((plan) => plan?.to)).toEqual([0, 1, 0, 1, 0, 1, 0, 1]);
        expect(plans.map((plan) => plan?.waitMs)).toEqual([10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 320_000, 320_000]);
        ladder = climbed(ladder, 0, 5);
        expect([rungOf(ladder), ladder.openAt, climb(ladder, 10_000, 1)]).toEqual(["websocket", 5, null]);
    });
    it(`never leaves its rungs nor waits out of bounds (SEED=${SEED})`, () => {
        const random = randomOf(SEED);
        for (let round = 0; round < 200; round += 1) {
            let ladder = beginLadder(RUNGS.slice(Math.floor(random() * 3)));
            let now = 0;
            for (let step = 0; step < 50; step += 1) {
                now += Math.floor(random() * 10_000);
                if (random() < 0.4) ladder = opened(ladder, now);
                const to = climb(ladder, 10_000, random())?.to;
                if (random() < 0.2 && to !== undefined) ladder = climbed(ladder, random() < 0.5 ? to : null, now);
                const next = lost(ladder, { mute: random() < 0.2, unreachable: random() < 0.3 }, now, bounds, random());
                ladder = next.ladder;
                if (!ladder.rungs.includes(rungOf(ladder))) throw new Error(`no rung at ${ladder.at}`);
                if (!(next.waitMs >= 0 && next.waitMs <= 30_000)) throw new Error(`waits ${next.waitMs} ms`);
            }
        }
    });
});

describe("the watchdog", () => {
    const patience = { quietMs: 20, muteMs: 10 };
    it.each([
        [{ heardAt: 0, askedAt: null }, 19, { kind: "wait", at: 20 }],
        [{ heardAt: 0, askedAt: null }, 20, { kind: "ask" }],
        [{ heardAt: 0, askedAt: 20 }, 29, { kind: "wait", at: 30 }],
        [{ heardAt: 0, askedAt: 20 }, 30, { kind: "mute" }],
        // A machine that slept asks first.
        [{ heardAt: 0, askedAt: null }, 9_999, { kind: "ask" }],
    ])("%j at %i: %j", (dog, now, what) => expect(watch(dog, patience, now)).toEqual(what));
});

describe("endings", () => {
    it.each([1000, 1001, 1002, 1006, 1007, 1008, 1009, 1011, 4000, 4999])("comes back after %i", (code) =>
        expect(endingOfClose(code, 7)).toEqual({ kind: "lost", loss: { afterMs: 7 } }));
    it.each([4001, 4003])("wants a new token after %i", (code) => expect(endingOfClose(code, undefined)).toEqual({ kind: "token" }));
    it("gives an overloaded server time", () => expect(endingOfClose(1013, undefined)).toEqual({ kind: "lost", loss: { afterMs: 5_000 } }));
    it("reads answers", () => {
        expect(endingOfError(new RushesError("unauthorized", "", false))).toEqual({ kind: "token" });
        expect(endingOfError(new RushesError("unreachable", "", true))).toMatchObject({ loss: { unreachable: true } });
        expect(endingOfError(new RushesError("rate_limited", "", true, { retryAfterMs: 9 }))).toMatchObject({ loss: { unreachable: false, afterMs: 9 } });
    });
});
