// Is anybody there? Pure: says when to ask, and when silence after asking means that nothing gets through any more.

export interface Watchdog {
    /** When the last byte came, or the connection was begun. */
    readonly heardAt: number;
    /** When we asked since then; null when we did not. */
    readonly askedAt: number | null;
}

export interface Patience {
    /** Silence after which to ask, in milliseconds. */
    readonly quietMs: number;
    /** Silence after asking that means mute, in milliseconds. */
    readonly muteMs: number;
}

/** What is due: nothing until `at`, asking, or giving up. */
export type Due = { readonly kind: "wait"; readonly at: number } | { readonly kind: "ask" } | { readonly kind: "mute" };

export function watch(dog: Watchdog, patience: Patience, now: number): Due {
    if (dog.askedAt === null) {
        const at = dog.heardAt + patience.quietMs;
        return now >= at ? { kind: "ask" } : { kind: "wait", at };
    }
    const at = dog.askedAt + patience.muteMs;
    return now >= at ? { kind: "mute" } : { kind: "wait", at };
}
