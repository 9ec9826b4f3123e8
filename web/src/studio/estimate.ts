// How long it still takes: what the server says, else what the pace so far suggests. Pure.

import type { GenerationEvent } from "@rushes/client";

/** 8 %: what is seen of the pace before is that of starting up. */
const PROGRESS_MIN = 8;

/** Seconds left, or null while nobody can know. `first` is the first event of this work that was seen. */
export function secondsLeft(status: GenerationEvent, first: GenerationEvent | null): number | null {
    if (status.state !== "running") return null;
    const told = status.metadata?.estimatedSecondsRemaining;
    if (typeof told === "number" && told >= 0) return told;
    if (first === null) return null;
    const [made, spent] = [status.progress - first.progress, (status.timestamp - first.timestamp) / 1_000];
    if (made < PROGRESS_MIN || spent <= 0 || status.progress >= 100) return null;
    return (spent * (100 - status.progress)) / made;
}
