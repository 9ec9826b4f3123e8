// One's own generations, newest first: the list as the server gives it, and the store of each one that is shown.

import { isTerminal, RushesError, type Generation, type GenerationStore, type Rushes } from "@rushes/client";
import type { Positions } from "../studio/positions.ts";

/** 48: two screens of tiles; more come by asking. */
const PAGE = 48;
/** 10 s: what was submitted elsewhere appears within it, while the page is looked at. */
const LOOK_MS = 10_000;

/** The same object until something changes. */
export interface Shelf {
    readonly generations: readonly Generation[];
    /** Before the first answer. */
    readonly isLoading: boolean;
    readonly nextCursor: string | null;
    readonly error: RushesError | null;
}

export class Library {
    readonly #client: Rushes;
    readonly #positions: Positions;
    readonly #listeners = new Set<() => void>();
    /** Held, so that a generation has one store as long as it is listed. */
    readonly #stores = new Map<string, GenerationStore>();
    #shelf: Shelf = { generations: [], isLoading: true, nextCursor: null, error: null };
    #timer: ReturnType<typeof setInterval> | null = null;
    #look: Promise<void> | null = null;
    #isClosed = false;

    constructor(client: Rushes, positions: Positions) {
        this.#client = client;
        this.#positions = positions;
    }

    readonly subscribe = (listener: () => void): (() => void) => {
        const own = () => listener();
        this.#listeners.add(own);
        if (this.#timer === null) {
            this.#timer = setInterval(() => document.hidden || this.refresh(), LOOK_MS);
            this.refresh();
        }
        return () => {
            this.#listeners.delete(own);
            if (this.#listeners.size > 0 || this.#timer === null) return;
            clearInterval(this.#timer);
            this.#timer = null;
        };
    };

    readonly getSnapshot = (): Shelf => this.#shelf;

    find(id: string): Generation | undefined {
        return this.#shelf.generations.find((one) => one.id === id);
    }

    /**
     * The store of a generation. It goes on from the position that was kept, so that nothing is missed over a reload; without
     * one it begins with the state that is known.
     */
    store(generation: string | Generation): GenerationStore {
        const id = typeof generation === "string" ? generation : generation.id;
        const held = this.#stores.get(id);
        if (held !== undefined) return held;
        const after = this.#positions.get(id);
        const isThere = typeof generation !== "string" && isTerminal(generation.state) && generation.position === after;
        const store = this.#client.watch(after === undefined || isThere ? generation : id, after === undefined || isThere ? {} : { after });
        this.#stores.set(id, store);
        return store;
    }

    /** A generation that is new here, first of all. */
    add(generation: Generation): void {
        this.#tell({ generations: merge([generation], this.#shelf.generations) });
    }

    /** It was deleted. */
    remove(id: string): void {
        this.#stores.delete(id);
        this.#tell({ generations: this.#shelf.generations.filter((one) => one.id !== id) });
    }

    /** Looks what there is. */
    refresh(): void {
        this.#look ??= this.#client
            .list({ limit: PAGE })
            .then(({ generations, nextCursor }) => {
                const oldest = generations.at(-1)?.createdAt ?? 0;
                // What is older than this page was asked for by hand and stays; what is younger and not on it is gone.
                const older = this.#shelf.generations.filter((one) => one.createdAt < oldest);
                const kept = older.length > 0;
                this.#tell({
                    generations: merge(generations, kept && nextCursor !== undefined ? older : []),
                    nextCursor: kept ? this.#shelf.nextCursor : (nextCursor ?? null),
                    isLoading: false,
                    error: null,
                });
            })
            .catch((error: unknown) => this.#tell({ isLoading: false, error: errorOf(error) }))
            .finally(() => (this.#look = null));
    }

    /** The next page. */
    async more(): Promise<void> {
        const cursor = this.#shelf.nextCursor;
        if (cursor === null) return;
        try {
            const { generations, nextCursor } = await this.#client.list({ limit: PAGE, cursor });
            this.#tell({ generations: merge(this.#shelf.generations, generations), nextCursor: nextCursor ?? null, error: null });
        } catch (error) {
            this.#tell({ error: errorOf(error) });
        }
    }

    close(): void {
        this.#isClosed = true;
        if (this.#timer !== null) clearInterval(this.#timer);
        this.#stores.clear();
        this.#listeners.clear();
    }

    #tell(changes: Partial<Shelf>): void {
        if (this.#isClosed) return;
        this.#shelf = { ...this.#shelf, ...changes };
        for (const listener of [...this.#listeners]) listener();
    }
}

/** Both, each once, newest first; the first list knows better. */
export function merge(first: readonly Generation[], second: readonly Generation[]): readonly Generation[] {
    const known = new Set(first.map(({ id }) => id));
    return [...first, ...second.filter(({ id }) => !known.has(id))].sort((a, b) => b.createdAt - a.createdAt || (a.id < b.id ? 1 : -1));
}

function errorOf(error: unknown): RushesError {
    return error instanceof RushesError ? error : new RushesError("bad_answer", String(error), false, { cause: error });
}
