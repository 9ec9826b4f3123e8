// What a watcher knows of one generation, and how each input changes it: position kept, density checked, repeats dropped.
// Pure. Holes are found here; going back to the position is asked of the connection by the returned effect.

import type { RushesError } from "./errors.ts";
import { isTerminal, type GenerationEvent, type Hint } from "./event.ts";

/** 64: what a drawer of last events shows, twice. */
const RECENT_MAX = 64;

/** Where a store stands. `ended`, `gone` (deleted) and `refused` are final. */
export type Phase = "joining" | "live" | "ended" | "gone" | "refused";

/** What happened on the way. Repeats and holes are harmless; they are counted so that nobody has to believe it. */
export interface Counts {
    /** Events taken. */
    readonly events: number;
    /** Events that came again and were dropped. */
    readonly repeats: number;
    /** Times something was missing and fetched again from the position. */
    readonly holes: number;
    /** Superseded events left out by the server on request (`delivery: "latest"`). */
    readonly skipped: number;
    /** Times the position was gone and the current state took its place. */
    readonly snapshots: number;
}

/** All a screen needs. The same object until something changes. */
export interface GenerationState {
    readonly id: string;
    readonly phase: Phase;
    /** The latest durable event. */
    readonly event: GenerationEvent | null;
    /** A newer status that is not stored, if there is one. */
    readonly hint: Hint | null;
    /** Keep it to go on from here after a reload. */
    readonly position: string | null;
    /** The last events, oldest first. */
    readonly recent: readonly GenerationEvent[];
    readonly counts: Counts;
    /** Why it is `gone` or `refused`. */
    readonly error: RushesError | null;
}

/** What a store hears. */
export type Input =
    | {
          readonly kind: "event";
          readonly event: GenerationEvent;
          readonly position?: string;
          readonly previous?: number;
          readonly snapshot?: boolean;
      }
    | { readonly kind: "hint"; readonly hint: Hint }
    /** Caught up, to `position` where it is known. */
    | { readonly kind: "subscribed"; readonly position?: string }
    | { readonly kind: "done" }
    | { readonly kind: "gone"; readonly error: RushesError }
    | { readonly kind: "refused"; readonly error: RushesError }
    | { readonly kind: "disconnected" };

/** What the connection shall do: come back from the position, or give this connection up because that did not help. */
export type Effect = "none" | "resume" | "reconnect";

/** The state and what only the rule needs. */
export interface History {
    readonly state: GenerationState;
    /** The last sequence; null while any may come first. */
    readonly sequence: number | null;
    /** Something is missing and was asked for. */
    readonly resuming: boolean;
}

/** From where a store begins: the current state unless said otherwise. */
export interface Begin {
    /** `start` for everything there is, or a position that was kept. */
    readonly after?: string;
    /** A state that is known, with its position. */
    readonly event?: GenerationEvent;
}

export function beginHistory(id: string, begin: Begin = {}): History {
    const state: GenerationState = {
        id,
        phase: "joining",
        event: null,
        hint: null,
        position: begin.after ?? null,
        recent: [],
        counts: { events: 0, repeats: 0, holes: 0, skipped: 0, snapshots: 0 },
        error: null,
    };
    const empty = { state, sequence: begin.after === "start" ? 0 : null, resuming: false };
    return begin.event === undefined ? empty : take(empty, { kind: "event", event: begin.event });
}

/** Is there nothing more to come? */
export function isOver(phase: Phase): boolean {
    return phase === "ended" || phase === "gone" || phase === "refused";
}

export function reduce(history: History, input: Input): readonly [History, Effect] {
    const { state } = history;
    if (isOver(state.phase)) return [input.kind === "event" ? count(history, "repeats") : history, "none"];
    switch (input.kind) {
        case "event":
            return reduceEvent(history, input);
        case "hint":
            return [isAbove(input.hint, state) ? change(history, { hint: input.hint }) : history, "none"];
        case "subscribed":
            return reduceSubscribed(history, input.position);
        case "done":
            return missing(history);
        case "gone":
        case "refused": {
            const { kind, error } = input;
            // It was known and is not found now: deleted while nobody could tell.
            return [change(history, { phase: state.event && error.code === "not_found" ? "gone" : kind, error }), "none"];
        }
        case "disconnected": {
            const calm = { ...history, resuming: false };
            return [state.phase === "live" ? change(calm, { phase: "joining" }) : calm, "none"];
        }
    }
}

function reduceEvent(history: History, input: Input & { kind: "event" }): readonly [History, Effect] {
    const { state, sequence } = history;
    if (input.snapshot) {
        // The state we already have, said again to begin with, changes nothing but the position.
        if (input.event.eventId === state.event?.eventId) {
            return [{ ...count(change(history, positionOf(history, input)), "repeats"), resuming: false }, "none"];
        }
        return [take(state.event === null ? history : count(history, "snapshots"), input), "none"];
    }
    const next = input.event.sequence;
    if (sequence !== null && next <= sequence) {
        // It may say where we stand, which its first coming did not.
        const known = next === sequence ? change(history, positionOf(history, input)) : history;
        return [count(known, "repeats"), "none"];
    }
    if (sequence === null || next === sequence + 1) return [take(history, input), "none"];
    if (input.previous !== undefined && input.previous <= sequence) {
        const { counts } = state;
        const skipped = counts.skipped + next - sequence - 1;
        return [take(change(history, { counts: { ...counts, skipped } }), input), "none"];
    }
    // What follows a hole comes again once the hole is filled.
    return history.resuming ? [history, "none"] : missing(history);
}

function reduceSubscribed(history: History, position: string | undefined): readonly [History, Effect] {
    if (history.resuming) return missing(history);
    const { state } = history;
    // Caught up somewhere else than where we are: the last events of what was missed were lost.
    if (position !== undefined && state.position !== null && state.position !== position) return missing(history);
    if (state.phase === "live") return [history, "none"];
    return [change(history, { phase: "live", position: position ?? state.position }), "none"];
}

/** Something is missing: ask for it once on this connection, and on a new one when that did not help. */
function missing(history: History): readonly [History, Effect] {
    if (history.resuming) return [{ ...history, resuming: false }, "reconnect"];
    // Told that it ended, and nothing known to go on from: the current state is asked for.
    const lost = history.sequence === null ? change(history, { position: null }) : history;
    return [{ ...count(lost, "holes"), resuming: true }, "resume"];
}

function take(history: History, input: Input & { kind: "event" }): History {
    const { state } = history;
    const { event } = input;
    const changed = change(history, {
        event,
        hint: null,
        recent: [...state.recent.slice(1 - RECENT_MAX), event],
        counts: { ...state.counts, events: state.counts.events + 1 },
        ...positionOf(history, input),
        ...(isTerminal(event.state) && { phase: "ended" as const }),
    });
    return { ...changed, sequence: event.sequence, resuming: false };
}

/** An event without a position (a page has one for all of it) leaves the older one: going back there only repeats. */
function positionOf(history: History, input: Input & { kind: "event" }): { position: string | null } {
    return { position: input.position ?? (input.snapshot ? null : history.state.position) };
}

function isAbove(hint: Hint, state: GenerationState): boolean {
    const shown = state.hint;
    const sequence = state.event?.sequence ?? 0;
    if (hint.sequence < sequence) return false;
    return shown === null || hint.sequence > shown.sequence || (hint.sequence === shown.sequence && hint.tick > shown.tick);
}

function change(history: History, changes: Partial<GenerationState>): History {
    return { ...history, state: { ...history.state, ...changes } };
}

function count(history: History, what: "repeats" | "holes" | "snapshots"): History {
    const { counts } = history.state;
    return change(history, { counts: { ...counts, [what]: counts[what] + 1 } });
}
