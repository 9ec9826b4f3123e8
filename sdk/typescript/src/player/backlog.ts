// Pictures that wait to be decoded. Pure, bounded: when decoding is slower than what comes, old pictures go, never memory.

import type { Frame } from "../frame.ts";
import type { Mode } from "./schedule.ts";

/** 16: what the server itself keeps of a generation. */
const WAITING_MAX = 16;

/** Adds one; a newer revision takes the place of its index, and `latest` keeps nothing else. Answers what was dropped. */
export function enqueue(waiting: readonly Frame[], frame: Frame, mode: Mode): { readonly waiting: readonly Frame[]; readonly dropped: number } {
    if (mode === "latest") return { waiting: [frame], dropped: waiting.length };
    const { fence, index } = frame.header;
    const others = waiting.filter(({ header }) => header.fence === fence && header.index !== index);
    const next = [...others, frame].slice(-WAITING_MAX);
    return { waiting: next, dropped: waiting.length + 1 - next.length };
}
