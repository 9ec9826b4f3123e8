// The generation that is open: its store, its log, and what HTTP says of it. Lives as long as it is open.

import { useEffect, useState } from "react";
import { RushesError, type Generation, type GenerationStore } from "@rushes/client";
import { useSession, type Session } from "../session/session.ts";
import { WatchLog } from "../studio/watch-log.ts";

export interface Watched {
    readonly store: GenerationStore;
    readonly log: WatchLog;
    /** Prompt, size and the state it was found in; null until it is known. */
    readonly generation: Generation | null;
    /** Why it cannot be shown. */
    readonly error: RushesError | null;
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

function open({ client, library, positions }: Session, id: string, tell: (watched: Watched) => void): () => void {
    const known = library.find(id) ?? null;
    const store = library.store(known ?? id);
    const log = new WatchLog(store, positions, library.takeResumed(id));
    tell({ store, log, generation: known, error: null });
    const stop = new AbortController();
    if (known === null) {
        client.get(id, { signal: stop.signal }).then(
            (generation) => tell({ store, log, generation, error: null }),
            (error: unknown) => error instanceof RushesError && tell({ store, log, generation: null, error }),
        );
    }
    return () => {
        stop.abort();
        log.close();
    };
}
