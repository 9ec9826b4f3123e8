// The player's pure parts: which picture is shown when, and that each is closed once.

import { describe, expect, it } from "vitest";
import type { Frame } from "../src/frame.ts";
import { enqueue } from "../src/player/backlog.ts";
import { filmTime } from "../src/player/film.ts";
import { beginSchedule, due, endSchedule, offer, tick, wants, type Mode, type Picture, type Rules, type Schedule, type Step } from "../src/player/schedule.ts";
import { randomOf, SEED } from "./support.ts";

const rules = (mode: Mode, more: Partial<Rules> = {}): Rules => ({ mode, startAt: 5, intervalMs: 100, heldMax: 12, ...more });

/** Plays, and knows what was drawn and what was closed. */
class Bench {
    schedule: Schedule<string>;
    readonly drawn: string[] = [];
    readonly closed: string[] = [];
    constructor(given: Rules) {
        this.schedule = beginSchedule(given);
    }
    #apply({ schedule, show, close }: Step<string>): void {
        this.schedule = schedule;
        if (show !== null) {
            if (this.closed.includes(show)) throw new Error(`${show} was drawn after it was closed`);
            this.drawn.push(show);
        }
        this.closed.push(...close);
    }
    /** Offers pictures as `index.revision` or `fence/index.revision`; `!` at the end for the last. */
    offer(...texts: string[]): this {
        for (const text of texts) {
            const [, fence = "1", index, revision] = /^(?:(\d+)\/)?(\d+)\.(\d+)/.exec(text) as unknown as string[];
            const picture: Picture<string> = { fence: Number(fence), index: Number(index), revision: Number(revision), isLast: text.endsWith("!"), image: text };
            this.#apply(offer(this.schedule, picture));
        }
        return this;
    }
    tick(...times: number[]): this {
        for (const now of times) this.#apply(tick(this.schedule, now));
        return this;
    }
    end(): void {
        this.#apply(endSchedule(this.schedule));
    }
}

describe("playing what is appended", () => {
    it("shows the first picture at once and moves when there are enough, at a fixed interval", () => {
        const bench = new Bench(rules("progressive")).offer("0.0").tick(0).offer("1.0", "2.0", "3.0").tick(500);
        expect(bench.drawn).toEqual(["0.0"]);
        bench.offer("4.0").tick(1_000, 1_050, 1_100, 1_199, 1_200, 1_300);
        expect(bench.drawn).toEqual(["0.0", "1.0", "2.0", "3.0", "4.0"]);
        expect(bench.closed).toEqual(["0.0", "1.0", "2.0", "3.0", "4.0"]);
    });
    it("holds the last picture when it runs dry, and goes on with the next", () => {
        const bench = new Bench(rules("progressive")).offer("0.0", "1.0", "2.0", "3.0", "4.0").tick(0, 100, 200, 300, 400, 500, 600);
        expect(bench.drawn).toHaveLength(5);
        expect(due(bench.schedule)).toBeNull();
        bench.offer("5.0").tick(5_000).offer("6.0").tick(5_050, 5_100);
        expect(bench.drawn.slice(5)).toEqual(["5.0", "6.0"]);
    });
    it("starts with fewer when no more will come", () => {
        expect(new Bench(rules("progressive")).offer("0.0", "1.0!").tick(0, 100).drawn).toEqual(["0.0", "1.0!"]);
    });
    it("does not play what was played, but sharpens what stands there", () => {
        const bench = new Bench(rules("progressive")).offer("0.0", "1.0", "2.0", "3.0", "4.0").tick(0, 100);
        bench.offer("0.1", "1.1").tick(120);
        expect(bench.drawn).toEqual(["0.0", "1.0", "1.1"]);
        expect(bench.closed).toContain("0.1");
        expect(bench.tick(200).drawn.at(-1)).toBe("2.0");
    });
    it("begins anew with another worker's pictures and forgets the old worker's", () => {
        const bench = new Bench(rules("progressive")).offer("0.0", "1.0", "2.0", "3.0", "4.0").tick(0, 100, 200);
        bench.offer("2/0.0").tick(300).offer("9.0", "2/1.0", "2/2.0", "2/3.0", "2/4.0").tick(400, 500);
        expect(bench.drawn).toEqual(["0.0", "1.0", "2.0", "2/0.0", "2/1.0"]);
        expect(bench.closed).toContain("9.0");
    });
});

describe("playing what is refined", () => {
    it("loops, with the sharpest of each", () => {
        const bench = new Bench(rules("refine", { startAt: 2 })).offer("0.0", "1.0").tick(0, 100, 200).offer("1.1", "0.1").tick(300, 400);
        expect(bench.drawn).toEqual(["0.0", "1.0", "0.0", "1.1", "0.1"]);
        expect(bench.closed).toEqual(["1.0", "0.0"]);
    });
    it("draws a single picture again only when it became sharper", () => {
        const bench = new Bench(rules("refine")).offer("0.0!").tick(0);
        expect(due(bench.schedule)).toBeNull();
        bench.offer("0.1!").tick(200, 300, 400);
        expect(bench.drawn).toEqual(["0.0!", "0.1!"]);
    });
    it("keeps each second picture when they are too many, and plays them half as fast", () => {
        const bench = new Bench(rules("refine", { heldMax: 6 })).offer(...Array.from({ length: 12 }, (_, index) => `${index}.0`));
        expect(bench.schedule.held.map(({ index }) => index)).toEqual([0, 2, 4, 6, 8, 10]);
        expect(bench.tick(0, 100, 199, 200).drawn).toEqual(["0.0", "2.0"]);
        expect(wants(bench.schedule, { fence: 1, index: 3, revision: 1 })).toBe(false);
    });
});

describe("the latest picture", () => {
    it("is shown at once, and the one before it is given back", () => {
        const bench = new Bench(rules("latest")).offer("0.0").tick(0).offer("3.0", "1.1").tick(100);
        expect(bench.drawn).toEqual(["0.0", "1.1"]);
        expect(bench.closed).toEqual(["0.0", "3.0", "1.1"]);
    });
});

describe.each<Mode>(["progressive", "refine", "latest"])("in the mode %s", (mode) => {
    it(`closes each picture once, and never holds too many (SEED=${SEED})`, () => {
        const random = randomOf(SEED);
        for (let round = 0; round < 60; round += 1) {
            const bench = new Bench(rules(mode));
            const offered: string[] = [];
            let now = 0;
            for (let step = 0; step < 200; step += 1) {
                now += Math.floor(random() * 120);
                const text = `${1 + Math.floor(step / 90)}/${Math.floor(random() * 30)}.${Math.floor(random() * 3)}#${step}`;
                if (random() < 0.6) {
                    offered.push(text);
                    bench.offer(text);
                }
                bench.tick(now);
                if (bench.schedule.held.length > 12) throw new Error(`holds ${bench.schedule.held.length} pictures`);
            }
            bench.end();
            expect([...bench.closed].sort()).toEqual([...offered].sort());
        }
    });
});

describe("pictures that wait to be decoded", () => {
    const frame = (index: number, fence = 1) => ({ header: { index, fence } }) as Frame;
    it("are few: the oldest go", () => {
        let waiting: readonly Frame[] = [];
        let lost = 0;
        for (let index = 0; index < 40; index += 1) {
            const next = enqueue(waiting, frame(index), "progressive");
            waiting = next.waiting;
            lost += next.dropped;
        }
        expect([waiting.length, waiting[0]?.header.index, lost]).toEqual([16, 24, 24]);
    });
    it("are replaced by a newer revision, another worker's, and in `latest` by anything", () => {
        expect(enqueue([frame(0), frame(1)], frame(0), "refine").waiting.map(({ header }) => header.index)).toEqual([1, 0]);
        expect(enqueue([frame(0), frame(1)], frame(0, 2), "refine")).toMatchObject({ dropped: 2 });
        expect(enqueue([frame(7)], frame(3), "latest").waiting).toHaveLength(1);
    });
});

describe("the film", () => {
    it.each([
        [{ index: 12 }, 48, 4, 1],
        [{ index: 47 }, 48, 4, 0],
        [null, 48, 4, 0],
        [{ index: 12 }, 0, 4, 0],
        [{ index: 12 }, 48, Number.NaN, 0],
    ])("goes on from %j of %i", (shown, total, duration, at) => expect(filmTime(shown, total, duration)).toBe(at));
});
