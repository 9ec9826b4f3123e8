// What this package takes from outside: network, time and chance. Everything has the platform's own as default; tests and
// Node 20, which has no WebSocket, bring theirs.

/** The part of the platform's WebSocket that is used; that of `ws` fits too. */
export interface WebSocketLike {
    binaryType: string;
    onopen: ((event: never) => void) | null;
    onmessage: ((event: never) => void) | null;
    onclose: ((event: never) => void) | null;
    onerror: ((event: never) => void) | null;
    send(text: string): void;
    close(code?: number): void;
}

export type WebSocketMaker = new (url: string, protocols: string) => WebSocketLike;

/** Waits and patience, in milliseconds. */
export interface Timing {
    /** First and longest wait before coming back: 1 s and 30 s. */
    readonly backoffMinMs: number;
    readonly backoffMaxMs: number;
    /** A connection that says nothing for so long after it was begun is mute: 10 s. */
    readonly openMs: number;
    /** Silence on a socket after which it is asked: 20 s, below the idle timeouts of common proxies. */
    readonly quietMs: number;
    /** Silence after asking that means mute: 10 s. */
    readonly muteMs: number;
    /** Silence of a stream that means mute: 35 s, two of the server's comments. */
    readonly streamMuteMs: number;
    /** First wait before trying a better way: 10 s. */
    readonly climbMs: number;
    /** How long a long-poll waits for the first event: 25 s, the server's most. */
    readonly pollMs: number;
    /** Between two looks at the same generation when there are too many for streams: 1 s. */
    readonly turnMs: number;
    /** After being told to slow down: 5 s, and up to as much again by chance. */
    readonly refusedMs: number;
    /** Deadline of one call: 30 s. */
    readonly callMs: number;
    /** A connection nobody needs is kept so long, for a page that changes: 2 s. */
    readonly lingerMs: number;
}

export const TIMING: Timing = {
    backoffMinMs: 1_000,
    backoffMaxMs: 30_000,
    openMs: 10_000,
    quietMs: 20_000,
    muteMs: 10_000,
    streamMuteMs: 35_000,
    climbMs: 10_000,
    pollMs: 25_000,
    turnMs: 1_000,
    refusedMs: 5_000,
    callMs: 30_000,
    lingerMs: 2_000,
};

export interface World {
    readonly fetch: typeof fetch;
    /** Absent where there is none; the ladder then begins at the stream. */
    readonly WebSocket: WebSocketMaker | undefined;
    readonly now: () => number;
    readonly random: () => number;
    /** Calls back once, and answers how to call that off. */
    readonly after: (ms: number, then: () => void) => () => void;
    readonly timing: Timing;
}

export function theWorld(given: { fetch?: typeof fetch; WebSocket?: unknown; timing?: Partial<Timing> }): World {
    const platform = globalThis as { WebSocket?: unknown };
    return {
        // Browsers refuse a fetch that is called on anything but the global.
        fetch: given.fetch ?? ((input, init) => fetch(input, init)),
        WebSocket: (given.WebSocket ?? platform.WebSocket) as WebSocketMaker | undefined,
        now: () => Date.now(),
        random: () => Math.random(),
        after: (ms, then) => {
            const timer = setTimeout(then, ms);
            return () => clearTimeout(timer);
        },
        timing: { ...TIMING, ...given.timing },
    };
}
