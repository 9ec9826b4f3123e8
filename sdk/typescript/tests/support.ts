// What several tests need: events to send, seeded chance, vectors, and waiting for a value instead of for a time.

import { readFileSync } from "node:fs";
import type { GenerationEvent, State } from "../src/event.ts";

/** Any value that changes. */
export interface Watched<T> {
    subscribe(listener: () => void): () => void;
    getSnapshot(): T;
}

/** The first value that fits; rejects with what it was when it never does. */
export function until<T>(watched: Watched<T>, fits: (value: T) => boolean, withinMs = 15_000): Promise<T> {
    return new Promise((resolve, reject) => {
        const look = () => {
            const value = watched.getSnapshot();
            if (!fits(value)) return;
            clearTimeout(timer);
            leave();
            resolve(value);
        };
        const leave = watched.subscribe(look);
        const timer = setTimeout(() => {
            leave();
            reject(new Error(`it stayed ${JSON.stringify(watched.getSnapshot())}`));
        }, withinMs);
        look();
    });
}

export function vectors<T>(name: string): T {
    return JSON.parse(readFileSync(new URL(`../../../spec/vectors/${name}.json`, import.meta.url), "utf8")) as T;
}

export function bytesOf(hex: string): Uint8Array<ArrayBuffer> {
    return Uint8Array.from({ length: hex.length / 2 }, (_, at) => Number.parseInt(hex.slice(2 * at, 2 * at + 2), 16));
}

/** Event number `sequence` of `last`; the last one is terminal. */
export function eventOf(id: string, sequence: number, last = Infinity): GenerationEvent {
    const state: State = sequence >= last ? "complete" : sequence === 1 ? "queued" : "running";
    return {
        eventId: `${id}.${sequence}`,
        generationId: id,
        tenantId: "default",
        userId: "u",
        causalId: "c",
        sequence,
        attempt: 1,
        type: state === "complete" ? "complete" : sequence === 1 ? "queued" : "stage_progress",
        state,
        status: state === "running" ? "generating_frames" : (state as "queued" | "complete"),
        progress: last === Infinity ? Math.min(99, sequence) : (100 * sequence) / last,
        message: `event ${sequence}`,
        timestamp: 1_700_000_000_000 + sequence,
    };
}

/** The seed of this run: `SEED=… npx vitest` runs the same again. */
export const SEED = Number(process.env.SEED ?? Date.now() % 1_000_000);

/** mulberry32: small, and good enough to mix up a test. */
export function randomOf(seed: number): () => number {
    let state = seed >>> 0;
    return () => {
        state = (state + 0x6d2b79f5) >>> 0;
        let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
        mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
        return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
    };
}
