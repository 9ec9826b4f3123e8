// What the three transports have in common: what they are told, and what they say. `socket.ts`, `stream.ts` and
// `poll.ts` fill it in, `connection.ts` is the other side.

import type { Ending } from "./ending.ts";
import type { Frame } from "./frame.ts";
import type { Input } from "./history.ts";
import type { Delivery, FrameWish } from "./live.ts";

/** Stands where an id does for all of one's own, present and to come; no generation can be named so. */
export const ALL_OF_MINE = "*";

/** How one generation is to be watched, from now. */
export interface Wanted {
    /** A position, `start`, or null for the current state. */
    readonly after: string | null;
    /** Of all one's own, over HTTP: the place of all of them. */
    readonly cursor?: string | undefined;
    readonly delivery: Delivery;
    /** Null for no pictures. */
    readonly frames: FrameWish | null;
    /** Pictures are wanted and must not come for now. */
    readonly paused: boolean;
}

/** One connection, or what stands for one. Ends once, by `Outlet.ended` or by `close`, and says nothing after. */
export interface Transport {
    /** Watches it, or goes back to its position. */
    join(id: string): void;
    leave(id: string): void;
    /** The wish for pictures was paused or unpaused. */
    credit(id: string): void;
    close(): void;
}

/** Where a transport says what it hears. */
export interface Outlet {
    /** How to watch it; null when nobody does any more. */
    wanted(id: string): Wanted | null;
    /** Bytes come through. */
    opened(): void;
    /**
     * False when something is missing: `join` was called again, and what follows on this way is out of order. `onlyForList`:
     * it came before what its store asked for, and is for the list of one's own alone.
     */
    heard(id: string, input: Input, onlyForList?: boolean): boolean;
    frame(frame: Frame): void;
    ended(ending: Ending): void;
}
