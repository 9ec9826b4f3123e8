// Pages of events over HTTP: one look at one generation, and what a store is to hear of it.

import { RushesError } from "./errors.ts";
import { decodeEvent } from "./event.ts";
import type { Http } from "./http.ts";
import { ALL_OF_MINE, type Outlet, type Wanted } from "./transport.ts";

/** Codes that say no to this generation only, and will again. */
const FINAL = ["not_found", "forbidden", "invalid_position", "invalid_request"];

/** Is it this generation that is refused, and not the way to it? */
export function isFinal(error: RushesError): boolean {
    return FINAL.includes(error.code);
}

export function pathOf(id: string, rest = ""): string {
    return `/v1/generations/${encodeURIComponent(id)}${rest}`;
}

/** Where to begin, for a watcher that has no position: it is told the current state. */
export async function state(http: Http, id: string, outlet: Outlet, signal: AbortSignal): Promise<void> {
    const wire = await json(http, pathOf(id), {}, signal);
    const event = decodeEvent(wire.status);
    if (event === null || typeof wire.position !== "string") throw malformed();
    outlet.heard(id, { kind: "event", event, position: wire.position, snapshot: true });
}

/** What came after the position. Waits up to `waitMs` for the first event. Answers whether there is more already. */
export async function page(
    http: Http,
    id: string,
    wanted: Wanted,
    waitMs: number,
    outlet: Outlet,
    signal: AbortSignal,
): Promise<boolean> {
    const isMine = id === ALL_OF_MINE;
    if (wanted.after === null && !isMine) {
        await state(http, id, outlet, signal);
        outlet.opened();
        return true;
    }
    const after = isMine ? (wanted.cursor ?? "") : (wanted.after as string);
    const query = after === "" ? "" : `after=${encodeURIComponent(after)}`;
    const path = isMine ? `/v1/events?mine=1&${query}` : pathOf(id, `/events?${query}`);
    // Without a place yet, the answer is how things are, though there may be nothing.
    const waitS = after === "" ? 0 : Math.floor(waitMs / 1_000);
    const wire = await json(http, path, { prefer: `wait=${waitS}` }, signal);
    const position = isMine ? wire.cursor : wire.position;
    if (!Array.isArray(wire.events) || typeof position !== "string") throw malformed();
    outlet.opened();
    const events = wire.events.map(decodeEvent);
    for (const [index, event] of events.entries()) {
        if (event === null) throw malformed();
        const isLast = index === events.length - 1;
        const snapshot = wire.recovery === "snapshot";
        // Something is missing: the next page, from where we are, is the answer to that.
        if (!outlet.heard(id, { kind: "event", event, snapshot, ...(isLast && { position }) })) return true;
    }
    if (wire.done === true) outlet.heard(id, { kind: "done" });
    else if (wire.more !== true) outlet.heard(id, { kind: "subscribed", position });
    return wire.more === true;
}

async function json(http: Http, path: string, headers: Record<string, string>, signal: AbortSignal): Promise<Record<string, unknown>> {
    const response = await http.open(path, { headers, signal });
    if (!response.ok) throw await http.failure(response);
    const body = await http.json(response);
    if (typeof body !== "object" || body === null) throw malformed();
    return body as Record<string, unknown>;
}

function malformed(): RushesError {
    return new RushesError("bad_answer", "the answer is not of this protocol", true);
}
