// What can be done with the open generation: cancel, retry, download.

import { useEffect, useRef, useState, type RefObject } from "react";
import { RushesError, type Generation, type GenerationEvent } from "@rushes/client";
import { CloseIcon, DownloadIcon, RetryIcon } from "../frame/icons.tsx";
import { Fault } from "../frame/fault.tsx";
import { useSession } from "../session/session.ts";
import { intend, randomKey, type Intent } from "../studio/intents.ts";

interface Props {
    readonly event: GenerationEvent;
    readonly onAccepted: (generation: Generation) => void;
    /** The server does not know it any more. */
    readonly onMissing: () => void;
}

export function Actions({ event, onAccepted, onMissing }: Props) {
    const { client } = useSession();
    const [isBusy, setIsBusy] = useState(false);
    const [error, setError] = useState<unknown>(null);
    const intent = useRef<Intent | null>(null);
    const act = async (what: () => Promise<unknown>) => {
        setIsBusy(true);
        setError(null);
        try {
            await what();
            return true;
        } catch (fault) {
            setError(fault);
            if (fault instanceof RushesError && fault.code === "not_found") onMissing();
            return false;
        } finally {
            setIsBusy(false);
        }
    };
    const id = event.generationId;
    const retry = async () => {
        const own = intend(intent.current, id, Date.now(), randomKey);
        if (own === null) return;
        intent.current = own;
        const isDone = await act(async () => onAccepted((await client.retry(id, { idempotencyKey: own.key })).generation));
        intent.current = { ...own, state: isDone ? "answered" : "failed", at: Date.now() };
    };
    const [place, pressed] = useFocusKept();
    const isStopping = event.state === "cancelling";
    const canCancel = event.state === "queued" || event.state === "running" || isStopping;
    const film = event.state === "complete" ? event.metadata?.videoUrl : undefined;
    return (
        <div ref={place} className="actions">
            {error !== null && <Fault error={error} />}
            {canCancel && (
                <button
                    type="button"
                    className="button"
                    data-testid="cancel"
                    disabled={isBusy || isStopping}
                    onClick={() => {
                        pressed();
                        void act(() => client.cancel(id));
                    }}
                >
                    <CloseIcon /> {isStopping ? "Cancelling…" : "Cancel"}
                </button>
            )}
            {(event.state === "failed" || event.state === "cancelled") && (
                <button type="button" className={event.metadata?.retryable === false ? "button" : "button primary"} data-testid="retry" disabled={isBusy} onClick={() => void retry()}>
                    <RetryIcon /> Try again
                </button>
            )}
            {film !== undefined && (
                // Of another origin, as behind a public address, browsers open what they were to save; not in place of this page.
                <a className="button" data-testid="download" href={film} download={`${id}.mp4`} target="_blank" rel="noreferrer">
                    <DownloadIcon /> Download
                </a>
            )}
        </div>
    );
}

/** A button that was pressed gives way to another one; whoever uses the keyboard goes on there and not at the top of the page. */
function useFocusKept(): readonly [RefObject<HTMLDivElement | null>, pressed: () => void] {
    const place = useRef<HTMLDivElement>(null);
    const isPressed = useRef(false);
    // At each drawing: what comes instead may be disabled still, while the answer to the press is on its way.
    useEffect(() => {
        if (!isPressed.current || document.activeElement !== document.body) return;
        const next = place.current?.querySelector<HTMLElement>("button:not(:disabled), a");
        if (next == null) return;
        isPressed.current = false;
        next.focus();
    });
    return [place, () => (isPressed.current = true)];
}
