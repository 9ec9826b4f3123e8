// What the address says: `#gen_…` is the generation that is open, `#token=…` signs in. Pure but for the two functions at the end.

/** What stands behind the `#`. */
export interface Address {
    readonly generation: string | null;
    readonly token: string | null;
}

export function readAddress(hash: string): Address {
    const text = hash.replace(/^#/, "");
    if (!text.includes("=")) return { generation: isId(text) ? text : null, token: null };
    const fields = new URLSearchParams(text);
    const generation = fields.get("generation") ?? "";
    return { generation: isId(generation) ? generation : null, token: fields.get("token") };
}

export function writeAddress(generation: string | null): string {
    return generation === null ? "" : `#${generation}`;
}

function isId(text: string): boolean {
    return /^[\w-]{1,128}$/.test(text);
}

/** Takes a token out of the address before anything else can read or keep it. */
export function takeToken(): string | null {
    const { token, generation } = readAddress(location.hash);
    if (token === null) return null;
    history.replaceState(null, "", location.pathname + location.search + writeAddress(generation));
    return token;
}

/** Opens another generation: a step of the browser's history, so that going back opens the one before. */
export function goTo(generation: string | null): void {
    if (readAddress(location.hash).generation === generation) return;
    history.pushState(null, "", location.pathname + location.search + writeAddress(generation));
    dispatchEvent(new HashChangeEvent("hashchange"));
}
