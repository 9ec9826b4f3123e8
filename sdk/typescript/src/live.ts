// Messages of the live socket: what the server says, read into a union, and what a client says, as types. No state.

import { errorOf, type RushesError } from "./errors.ts";
import { decodeEvent, decodeHint, isGenerationId, type GenerationEvent, type Hint } from "./event.ts";

/** How a subscription found its place. */
export type Recovery = "fresh" | "resumed" | "snapshot";
/** Each event, or only what no newer one has replaced. */
export type Delivery = "all" | "latest";

/** Which preview pictures are wanted. */
export interface FrameWish {
    /** Per second; 1 to 60, 12 unless said otherwise. */
    readonly maxFps?: number;
    /** Pixels; 854 unless said otherwise. Up to 192 the worker's small tiles are enough. */
    readonly maxWidth?: number;
    /** `all` is for the requester that plays what it receives: it slows the generator when it cannot keep up. */
    readonly delivery?: Delivery;
}

/** What a client says. */
export type ClientMessage =
    | { readonly type: "authenticate"; readonly token: string }
    | {
          readonly type: "subscribe";
          readonly generationId?: string;
          /** All of one's own, present and to come. */
          readonly mine?: true;
          readonly after?: string;
          readonly delivery?: Delivery;
          readonly frames?: FrameWish;
      }
    | { readonly type: "unsubscribe"; readonly generationId?: string; readonly mine?: true }
    | { readonly type: "ping" }
    | { readonly type: "credit"; readonly generationId: string; readonly frames: number };

/** What the server says. Types nobody knows yet are one case. */
export type ServerMessage =
    | { readonly kind: "authenticated"; readonly userId: string; readonly expiresAt?: number }
    | {
          readonly kind: "event";
          readonly event: GenerationEvent;
          readonly position?: string;
          readonly previous?: number;
          readonly snapshot: boolean;
      }
    | { readonly kind: "hint"; readonly hint: Hint }
    | { readonly kind: "subscribed"; readonly generationId?: string; readonly position?: string; readonly recovery: Recovery }
    | { readonly kind: "unsubscribed"; readonly generationId?: string }
    | { readonly kind: "accepted"; readonly requestId: string }
    | { readonly kind: "done"; readonly generationId: string }
    | { readonly kind: "backpressure"; readonly reason: string; readonly dropped?: number }
    | { readonly kind: "reconnect"; readonly afterMs: number; readonly reason: string }
    | { readonly kind: "error"; readonly error: RushesError; readonly generationId?: string }
    | { readonly kind: "pong" }
    | { readonly kind: "unknown" };

const UNKNOWN: ServerMessage = { kind: "unknown" };

/** Reads one text message. What cannot be read is `unknown`, and to be skipped like a type of a later version. */
export function decodeServerMessage(text: string): ServerMessage {
    let wire: Record<string, unknown>;
    try {
        wire = JSON.parse(text);
    } catch {
        return UNKNOWN;
    }
    // Whatever is no object has no type.
    switch (wire?.type) {
        case "status_update":
            return decodeStatus(wire);
        case "error": {
            const { generationId } = wire;
            return { kind: "error", error: errorOf(wire), ...(isGenerationId(generationId) && { generationId }) };
        }
        case "subscribed":
            if (!/^(fresh|resumed|snapshot)$/.test(wire.recovery as string)) return UNKNOWN;
        // What follows has fields of one form each, and whoever uses one looks at it.
        case "authenticated":
        case "unsubscribed":
        case "accepted":
        case "done":
        case "backpressure":
        case "reconnect":
        case "pong":
            return { ...wire, kind: wire.type } as unknown as ServerMessage;
        default:
            return UNKNOWN;
    }
}

function decodeStatus(wire: Record<string, unknown>): ServerMessage {
    const hint = decodeHint(wire.data);
    if (hint !== null) return { kind: "hint", hint };
    const event = decodeEvent(wire.data);
    // A hint without a tick is nothing that could be put in order.
    if (event === null || (event as Partial<Hint>).ephemeral) return UNKNOWN;
    const { position, previous, recovery } = wire as { position?: string; previous?: number; recovery?: string };
    return {
        kind: "event",
        event,
        snapshot: recovery === "snapshot",
        ...(position && { position }),
        ...(previous !== undefined && { previous }),
    };
}
