// Which transport to use: WebSocket, else a stream of events, else long-poll; down when one does not get through, and up
// again when it might. Pure: times and randomness come in, sockets are elsewhere.

import { backoffMs, type BackoffBounds } from "./backoff.ts";

/** Ways to the server, best first. */
export type Rung = "websocket" | "sse" | "poll";

export const RUNGS: readonly Rung[] = ["websocket", "sse", "poll"];

/** 2: one failure is an accident. */
const FAILURES_MAX = 2;
/** 5 s: a connection that lived shorter does not prove that the next may come at once. */
const STABLE_MS = 5_000;
/** Climbing waits longer after each vain try, up to 32 times the first wait. */
const CLIMB_DOUBLINGS_MAX = 5;

export interface Ladder {
    /** Rungs that may be used, best first; never empty. */
    readonly rungs: readonly Rung[];
    /** The one in use. */
    readonly at: number;
    /** Failures of this rung in a row, without ever getting through. */
    readonly failures: number;
    /** Tries in a row that did not last: what waiting grows with. */
    readonly attempt: number;
    /** Vain tries to climb. */
    readonly climbs: number;
    /** The best one worked once: what brought us down was an outage, and not a proxy. */
    readonly proven: boolean;
    /** Since when it is open; null while it is not. */
    readonly openAt: number | null;
}

/** How a connection ended. */
export interface Loss {
    /** Nothing came although something had to: a proxy swallows it, or the network is gone. */
    readonly mute?: boolean;
    /** No answer at all, from nobody: it is not this rung's fault. */
    readonly unreachable?: boolean;
    /** The least to wait, because the server said so. */
    readonly afterMs?: number | undefined;
}

export function beginLadder(rungs: readonly Rung[]): Ladder {
    return { rungs, at: 0, failures: 0, attempt: 0, climbs: 0, proven: false, openAt: null };
}

export function rungOf(ladder: Ladder): Rung {
    return ladder.rungs[ladder.at] as Rung;
}

/** Bytes came through. */
export function opened(ladder: Ladder, now: number): Ladder {
    return { ...ladder, failures: 0, openAt: now, proven: ladder.proven || ladder.at === 0 };
}

/** The connection is lost: where to try next, and after how long. */
export function lost(
    ladder: Ladder,
    loss: Loss,
    now: number,
    bounds: BackoffBounds,
    random: number,
): { readonly ladder: Ladder; readonly waitMs: number } {
    const wasOpen = ladder.openAt !== null;
    const wasStable = wasOpen && now - (ladder.openAt as number) >= STABLE_MS;
    const attempt = (wasStable ? 0 : ladder.attempt) + 1;
    const failures = wasOpen ? 0 : ladder.failures + 1;
    const next = { ...ladder, attempt, failures, openAt: null };
    const waitMs = backoffMs(attempt, bounds, random, loss.afterMs);
    const hasLower = ladder.at < ladder.rungs.length - 1;
    if (loss.mute && hasLower) {
        // The way below is another way: no reason to wait, unless the server asked to.
        return { ladder: { ...next, at: ladder.at + 1, failures: 0, proven: false }, waitMs: loss.afterMs ?? 0 };
    }
    // Nobody is there on any way. Whoever comes back is asked for the best one first.
    if (loss.unreachable && ladder.at > 0) return { ladder: { ...next, at: 0, failures: 0, climbs: 0 }, waitMs };
    if (failures >= FAILURES_MAX && hasLower) return { ladder: { ...next, at: ladder.at + 1, failures: 0 }, waitMs };
    return { ladder: next, waitMs };
}

/** Which rung to try beside the one in use, and when; null at the top. The best one and the next one take turns. */
export function climb(ladder: Ladder, climbMs: number, random: number): { readonly to: number; readonly waitMs: number } | null {
    if (ladder.at === 0) return null;
    const to = ladder.climbs % 2 === 0 ? 0 : ladder.at - 1;
    const isSoon = ladder.proven && ladder.climbs === 0;
    const waitMs = isSoon ? climbMs / 10 : climbMs * 2 ** Math.min(ladder.climbs, CLIMB_DOUBLINGS_MAX);
    // Between half and all of it: a crowd behind one proxy does not climb together.
    return { to, waitMs: Math.round(waitMs * (0.5 + random / 2)) };
}

/** The try to climb failed, or got through. */
export function climbed(ladder: Ladder, to: number | null, now: number): Ladder {
    if (to === null) return { ...ladder, climbs: ladder.climbs + 1 };
    return { ...ladder, at: to, failures: 0, climbs: to === 0 ? 0 : ladder.climbs, proven: to === 0, openAt: now };
}
