// The generation that is open: its store, its log, and what HTTP says of it. Lives as long as it is open.

import { useEffect, useRef, useState } from "react";
import { isTerminal, RushesError, type Generation, type GenerationStore } from "@rushes/client";
import { useSession, type Session } from "../session/session.ts";
import { useValue, useValueOf } from "../studio/stores.ts";
import { WatchLog } from "../studio/watch-log.ts";

/** 15 s between two looks at a film that has ended: the server tells nobody when that is deleted. */
const LOOK_MS = 15_000;

export interface Watched {
    readonly store: GenerationStore;
    readonly log: WatchLog;
    /** Prompt, size and the state it was found in; null until it is known. */
    readonly generation: Generation | null;
    /** Why it cannot be shown. */
    readonly error: RushesError | null;
    /** It was known, and the server has it no more. */
    readonly isMissing: boolean;
    /** Asks the server whether it is still there: something of it was not found. */
    readonly look: () => void;
}

export function useWatched(id: string | null): Watched | null {
    const session = useSession();
    const [watched, setWatched] = useState<Watched | null>(null);
    useEffect(() => {
        if (id === null) return setWatched(null);
        const end = open(session, id, setWatched);
        return () => {
            end();
            setWatched(null);
        };
    }, [session, id]);
    // What was open before is not shown for an instant under the new id.
    return watched?.store.id === id ? watched : null;
}

/** Was it deleted, here or elsewhere? The list and the server's answers are looked at, so that no screen waits for it. */
export function useIsDeleted(watched: Watched | null): boolean {
    const { library } = useSession();
    const { generations } = useValue(library);
    const phase = useValueOf(watched?.store ?? null)?.phase;
    const wasListed = useRef<GenerationStore | null>(null);
    const isListed = watched !== null && generations.some(({ id }) => id === watched.store.id);
    useEffect(() => {
        if (watched === null) return;
        if (isListed) wasListed.current = watched.store;
        else if (wasListed.current === watched.store) {
            wasListed.current = null;
            watched.look();
        }
    }, [watched, isListed]);
    return phase === "gone" || (watched?.isMissing ?? false);
}

function open({ client, library, positions }: Session, id: string, tell: (watched: Watched) => void): () => void {
    const known = library.find(id) ?? null;
    const store = library.store(known ?? id);
    const log = new WatchLog(store, positions, library.takeResumed(id));
    const stop = new AbortController();
    let now: Watched = { store, log, generation: known, error: null, isMissing: false, look };
    const change = (changes: Partial<Watched>) => tell((now = { ...now, ...changes }));
    function look() {
        client.get(id, { signal: stop.signal }).then(
            (generation) => {
                if (now.generation === null) change({ generation, error: null });
            },
            (error: unknown) => {
                if (!(error instanceof RushesError) || stop.signal.aborted) return;
                const wasThere = now.generation !== null || store.getSnapshot().event !== null;
                if (error.code !== "not_found" || !wasThere) return now.generation === null ? change({ error }) : undefined;
                positions.forget(id);
                library.refresh();
                change({ isMissing: true });
            },
        );
    }
    tell(now);
    if (known === null || isTerminal(known.state)) look();
    const timer = setInterval(() => {
        if (!document.hidden && !now.isMissing && store.getSnapshot().phase === "ended") look();
    }, LOOK_MS);
    return () => {
        clearInterval(timer);
        stop.abort();
        log.close();
    };
}
