// What came, when, and whether it had to be fetched again: what the drawer shows of one generation. Pure; `watch-log.ts`
// listens.

import type { GenerationEvent, GenerationState } from "@rushes/client";

/** 200: a long film's events, newest last; the drawer scrolls no further. */
const ROWS_MAX = 200;
/** 64 arrivals are enough for a median that moves with the network. */
const SAMPLES_MAX = 64;

export interface Row {
    readonly event: GenerationEvent;
    /** From its commit to its arrival, by two clocks that may differ; null of what did not come live. */
    readonly latencyMs: number | null;
    /** It was missed while there was no connection, and came afterwards. */
    readonly isRefilled: boolean;
}

export interface EventLog {
    /** Oldest first. */
    readonly rows: readonly Row[];
    /** Greatest sequence taken. */
    readonly sequence: number;
    /** Are events that come now those that were missed? */
    readonly isRefilling: boolean;
    /** Was there a moment at which everything was known? */
    readonly wasLive: boolean;
    /** How many the last gap held; null while there was none. */
    readonly refilled: number | null;
    /** Latencies of events that came live, oldest first. */
    readonly samples: readonly number[];
}

/** `isResumed`: a position was kept from before, so that what comes first is what was missed. */
export function beginLog(isResumed: boolean): EventLog {
    return { rows: [], sequence: 0, isRefilling: isResumed, wasLive: isResumed, refilled: null, samples: [] };
}

/** The store changed. Called for each change, so that each event is met in the phase it came in. */
export function record(log: EventLog, state: GenerationState, now: number): EventLog {
    const fresh = state.recent.filter(({ sequence }) => sequence > log.sequence);
    const next = fresh.reduce((before, event) => take(before, event, now), log);
    if (state.phase === "live") return next.isRefilling || !next.wasLive ? { ...next, isRefilling: false, wasLive: true } : next;
    // Events were live and are not: the next ones are those of the gap.
    if (state.phase === "joining" && next.wasLive && !next.isRefilling) return { ...next, isRefilling: true, refilled: null };
    return next;
}

function take(log: EventLog, event: GenerationEvent, now: number): EventLog {
    const isRefilled = log.isRefilling;
    // What was missed is late because of the gap, and what was there before the page is old: neither is a latency.
    const latencyMs = log.wasLive && !isRefilled ? now - event.timestamp : null;
    return {
        ...log,
        rows: [...log.rows, { event, latencyMs, isRefilled }].slice(-ROWS_MAX),
        sequence: event.sequence,
        refilled: isRefilled ? (log.refilled ?? 0) + 1 : log.refilled,
        samples: latencyMs === null ? log.samples : [...log.samples, latencyMs].slice(-SAMPLES_MAX),
    };
}

/** The smallest value that `share` of all are not above; null of nothing. */
export function quantile(samples: readonly number[], share: number): number | null {
    const sorted = [...samples].sort((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))] ?? null;
}

/** Clocks that differ show: nothing arrives before it was sent, and nothing takes minutes over a live connection. */
export function clocksDiffer(samples: readonly number[]): boolean {
    const least = quantile(samples, 0);
    return least !== null && (least < -2 || least > 5_000);
}
