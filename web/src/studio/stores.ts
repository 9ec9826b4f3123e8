// Reading what changes outside of React: stores of the client, the address, the network, the time.

import { useCallback, useEffect, useState, useSyncExternalStore } from "react";
import { readAddress } from "./address.ts";

/** Anything with `subscribe` and `getSnapshot`, as all of the client's values have. */
export interface Readable<T> {
    readonly subscribe: (listener: () => void) => () => void;
    readonly getSnapshot: () => T;
}

export function useValue<T>(readable: Readable<T>): T {
    return useSyncExternalStore(readable.subscribe, readable.getSnapshot);
}

function onWindow(...names: string[]): (listener: () => void) => () => void {
    return (listener) => {
        for (const name of names) addEventListener(name, listener);
        return () => names.forEach((name) => removeEventListener(name, listener));
    };
}

const onAddress = onWindow("hashchange", "popstate");
const onNetwork = onWindow("online", "offline");

/** The generation that is open. */
export function useOpenGeneration(): string | null {
    return useSyncExternalStore(onAddress, () => readAddress(location.hash).generation);
}

export function useIsOnline(): boolean {
    return useSyncExternalStore(onNetwork, () => navigator.onLine);
}

/** The time, each second while `isNeeded`, or as often as it is said. */
export function useNow(isNeeded: boolean, everyMs = 1_000): number {
    const [now, setNow] = useState(() => Date.now());
    useEffect(() => {
        if (!isNeeded) return;
        setNow(Date.now());
        const timer = setInterval(() => setNow(Date.now()), everyMs);
        return () => clearInterval(timer);
    }, [isNeeded, everyMs]);
    return now;
}

/** Does the screen, or the person, have this property? */
export function useMedia(query: string): boolean {
    const subscribe = useCallback(
        (listener: () => void) => {
            const media = matchMedia(query);
            media.addEventListener("change", listener);
            return () => media.removeEventListener("change", listener);
        },
        [query],
    );
    return useSyncExternalStore(subscribe, () => matchMedia(query).matches);
}

const NOTHING: Readable<null> = { subscribe: () => () => {}, getSnapshot: () => null };

/** The same for something that may not be there. */
export function useValueOf<T>(readable: Readable<T> | null): T | null {
    return useValue<T | null>(readable ?? NOTHING);
}
