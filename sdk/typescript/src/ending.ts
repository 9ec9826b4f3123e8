// Why a connection ended, and what that means for the next one. Pure.

import type { RushesError } from "./errors.ts";
import type { Loss } from "./ladder.ts";

/** A new connection may do better, or only a new token would. */
export type Ending =
    | { readonly kind: "lost"; readonly loss: Loss; readonly error?: RushesError }
    | { readonly kind: "token" };

/** 5 s: what overload is given at least. */
const OVERLOAD_MS = 5_000;

/** What a close code of the live socket means. `afterMs` is what a `reconnect` before it asked for. */
export function endingOfClose(code: number, afterMs: number | undefined): Ending {
    switch (code) {
        case 4001: // Nobody authenticated in time.
        case 4003: // Authentication failed, or the token's time is over.
            return { kind: "token" };
        case 1013:
            return { kind: "lost", loss: { afterMs: afterMs ?? OVERLOAD_MS } };
        default:
            // 1000, 1001, 1006, and whatever a proxy says: what is watched has not ended, so it goes on elsewhere.
            return { kind: "lost", loss: { afterMs } };
    }
}

/** What an answer other than the wanted one, or none, means for a stream or a poll. */
export function endingOfError(error: RushesError): Ending {
    if (error.code === "unauthorized") return { kind: "token" };
    return { kind: "lost", loss: { unreachable: error.code === "unreachable", afterMs: error.retryAfterMs }, error };
}
