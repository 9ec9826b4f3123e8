// How long it still takes: what the server says, else what the pace so far suggests. Pure.

import type { GenerationEvent } from "@rushes/client";

/** 8 %: before, the pace is that of starting up. */
const PROGRESS_MIN = 8;

/**
 * Seconds left, or null while nobody can know. `startedAt` is when work began, by the server's clock, and so is `now`.
 */
export function secondsLeft(event: GenerationEvent, startedAt: number | null): number | null {
    if (event.state !== "running") return null;
    const told = event.metadata?.estimatedSecondsRemaining;
    if (typeof told === "number" && told >= 0) return told;
    if (startedAt === null || event.progress < PROGRESS_MIN || event.progress >= 100) return null;
    const spent = (event.timestamp - startedAt) / 1_000;
    return spent <= 0 ? null : (spent * (100 - event.progress)) / event.progress;
}
