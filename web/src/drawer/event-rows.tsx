// The last events, newest first.

import { memo } from "react";
import type { Row } from "../studio/event-log.ts";
import { milliseconds, percent, words } from "../studio/format.ts";

export function EventRows({ rows }: { readonly rows: readonly Row[] }) {
    return (
        <ol className="event-rows" aria-label="Events, newest first" tabIndex={0}>
            {[...rows].reverse().map((row) => (
                <EventRow key={row.event.eventId} row={row} />
            ))}
        </ol>
    );
}

const EventRow = memo(function EventRow({ row: { event, latencyMs, isRefilled } }: { readonly row: Row }) {
    return (
        <li className="event-row" data-testid="event-row" data-sequence={event.sequence} data-refilled={isRefilled}>
            <span className="event-sequence">{event.sequence}</span>
            <span className="event-type">
                {event.stage === undefined ? words(event.type) : words(event.stage)}
                {event.stage !== undefined && event.type !== "stage_progress" && <em>{words(event.type.replace("stage_", "")).toLowerCase()}</em>}
            </span>
            <span className="event-progress">{percent(event.progress)}</span>
            <span className="event-latency">{isRefilled ? "refilled" : latencyMs === null ? "" : milliseconds(latencyMs)}</span>
        </li>
    );
});
