// What happens to the connection, kept up to date for the badge and the notice; and the ways to act on it.

import { useCallback, useEffect, useRef, useState } from "react";
import { isTerminal, type Rung, type Rushes } from "@rushes/client";
import type { Library } from "../library/library.ts";
import type { Circumstances } from "./situation.ts";
import { useIsOnline, useNow, useValue } from "./stores.ts";

interface Situation {
    readonly circumstances: Circumstances;
    /** Cuts the connection, and remembers who did. */
    readonly cut: () => void;
    /** Uses this transport from now on; the best one means the whole ladder. */
    readonly use: (rung: Rung) => void;
}

export function useSituation(client: Rushes, library: Library, isOpenRunning: boolean): Situation {
    const connection = useValue(client.connection);
    const { generations } = useValue(library);
    const isOnline = useIsOnline();
    const [wasConnected, setWasConnected] = useState(false);
    const [wasCut, setWasCut] = useState(false);
    const [chosen, setChosen] = useState<Rung | null>(null);
    const isOutdated = useIsOutdated(connection.state === "live");
    const now = useNow(connection.retryAt !== null);
    const isConnected = connection.state === "live" || connection.state === "polling";
    useEffect(() => {
        if (!isConnected) return;
        setWasConnected(true);
        setWasCut(false);
    }, [isConnected]);
    useEffect(() => {
        const look = () => {
            if (document.hidden) return;
            client.connection.retry();
            library.refresh();
        };
        // The network is back, or the machine woke up: both are reasons not to wait for the planned time.
        addEventListener("online", look);
        document.addEventListener("visibilitychange", look);
        return () => {
            removeEventListener("online", look);
            document.removeEventListener("visibilitychange", look);
        };
    }, [client, library]);
    const cut = useCallback(() => {
        setWasCut(true);
        client.connection.cut();
    }, [client]);
    const use = useCallback(
        (rung: Rung) => {
            setChosen(rung);
            client.connection.use(rung === "websocket" ? ["websocket", "sse", "poll"] : [rung]);
        },
        [client],
    );
    const isWaiting = isOpenRunning || generations.some(({ state }) => !isTerminal(state));
    return { circumstances: { connection, isWaiting, wasConnected, isOnline, wasCut, wasChosen: chosen === "poll", isOutdated, now }, cut, use };
}

/** Looks after each return whether the server still serves this very page: after an update it serves another one. */
function useIsOutdated(isLive: boolean): boolean {
    const [isOutdated, setIsOutdated] = useState(false);
    const wasLive = useRef(false);
    useEffect(() => {
        if (!isLive) return;
        const isFirst = !wasLive.current;
        wasLive.current = true;
        if (isFirst || import.meta.env.DEV) return;
        const own = new URL(import.meta.url).pathname.split("/").at(-1) ?? "";
        const stop = new AbortController();
        fetch(location.pathname, { cache: "no-store", signal: stop.signal })
            .then((answer) => (answer.ok ? answer.text() : null))
            .then((page) => page !== null && page.includes("/assets/") && setIsOutdated(!page.includes(own)))
            // No answer is the connection's matter, and said there.
            .catch(() => {});
        return () => stop.abort();
    }, [isLive]);
    return isOutdated;
}
