// One click, one generation. An intent is what somebody wants at one moment; clicked twice it is still one, and has one key.

/** 1 s: nobody wants the same film twice within it, and a double click is over. */
const SAME_MS = 1_000;

export interface Intent {
    readonly what: string;
    /** The key under which the server knows it. */
    readonly key: string;
    readonly state: "sending" | "answered" | "failed";
    /** When it came to this state. */
    readonly at: number;
}

/**
 * The intent to send for a click, or null when the one before is the same and takes care of it. What failed is sent again
 * under its old key: the answer may have been lost, and the film be under way.
 */
export function intend(before: Intent | null, what: string, now: number, newKey: () => string): Intent | null {
    const isSame = before !== null && before.what === what;
    if (isSame && before.state === "failed") return { ...before, state: "sending", at: now };
    if (isSame && (before.state === "sending" || now - before.at < SAME_MS)) return null;
    return { what, key: newKey(), state: "sending", at: now };
}

/** 128 random bits; `crypto.randomUUID` is missing on pages without https. */
export function randomKey(): string {
    return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
