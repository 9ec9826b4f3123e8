// Positions kept over a reload, per generation and person, in the tab's own storage.

/** 64: more generations than anybody watches in one tab; the oldest go. */
const KEPT_MAX = 64;

/** The part of `Storage` that is used. */
export interface Shelf {
    getItem(key: string): string | null;
    setItem(key: string, value: string): void;
}

type Kept = readonly (readonly [id: string, position: string])[];

export class Positions {
    readonly #shelf: Shelf;
    readonly #key: string;

    constructor(shelf: Shelf, user: string) {
        this.#shelf = shelf;
        this.#key = `rushes.positions.${user}`;
    }

    get(id: string): string | undefined {
        return this.#read().find(([kept]) => kept === id)?.[1];
    }

    keep(id: string, position: string): void {
        const kept = this.#read();
        if (kept.at(-1)?.[0] === id && kept.at(-1)?.[1] === position) return;
        const others = kept.filter(([other]) => other !== id);
        this.#write([...others, [id, position] as const].slice(-KEPT_MAX));
    }

    forget(id: string): void {
        this.#write(this.#read().filter(([kept]) => kept !== id));
    }

    #read(): Kept {
        try {
            const kept: unknown = JSON.parse(this.#shelf.getItem(this.#key) ?? "[]");
            return Array.isArray(kept) ? kept.filter(isKept) : [];
        } catch {
            return [];
        }
    }

    #write(kept: Kept): void {
        try {
            this.#shelf.setItem(this.#key, JSON.stringify(kept));
        } catch {
            // Storage that is full or forbidden costs the resume after a reload, not the page.
        }
    }
}

/** Only what has the form of a position: whatever else stands there would be refused by the client. */
function isKept(entry: unknown): entry is readonly [string, string] {
    return Array.isArray(entry) && typeof entry[0] === "string" && /^[a-z0-9]{1,16}:\d{1,20}$/.test(String(entry[1]));
}
