// How long to wait before the next try. Pure: randomness comes in.

import type { Timing } from "./world.ts";

/** The first wait is anything up to the one, and no wait is longer than the other, unless the server asks for it. */
export type BackoffBounds = Pick<Timing, "backoffMinMs" | "backoffMaxMs">;

/** 50 ms: even the luckiest jitter leaves a server that refuses everybody time to breathe. */
const FLOOR_MS = 50;

/**
 * Milliseconds before try number `attempt` (from 1): full jitter under a doubling bound, so that clients cut off together
 * do not come back together. `askedMs` is what the server asked for, and the least.
 */
export function backoffMs(attempt: number, bounds: BackoffBounds, random: number, askedMs = 0): number {
    const bound = Math.min(bounds.backoffMaxMs, bounds.backoffMinMs * 2 ** Math.min(attempt - 1, 30));
    return Math.round(Math.max(askedMs, FLOOR_MS, random * bound));
}
