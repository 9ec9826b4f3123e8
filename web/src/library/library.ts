// One's own generations as the client keeps them, and the store of each one that is shown.

import { isTerminal, type Generation, type GenerationStore, type Rushes } from "@rushes/client";
import { Mine, type MineSnapshot } from "@rushes/client/mine";
import type { Positions } from "../studio/positions.ts";

/** 48: two screens of tiles; more come by asking. */
const PAGE = 48;

export class Library {
    readonly #client: Rushes;
    readonly #positions: Positions;
    readonly #mine: Mine;
    /** Held, so that a generation has one store as long as the page is there. */
    readonly #stores = new Map<string, GenerationStore>();
    /** Stores that went on from a kept position, until somebody asked. */
    readonly #resumed = new Set<string>();
    /** The last answer to a submission: it is known before the list tells of it. */
    #accepted: Generation | null = null;
    #release = () => {};

    constructor(client: Rushes, positions: Positions) {
        this.#client = client;
        this.#positions = positions;
        this.#mine = new Mine(client, { pageSize: PAGE });
    }

    readonly subscribe = (listener: () => void): (() => void) => this.#mine.subscribe(listener);

    readonly getSnapshot = (): MineSnapshot => this.#mine.getSnapshot();

    find(id: string): Generation | undefined {
        return this.getSnapshot().generations.find((one) => one.id === id) ?? (this.#accepted?.id === id ? this.#accepted : undefined);
    }

    /** Just submitted. Watched at once, so that its first events come one by one and not as the list sums them up. */
    accept(generation: Generation): void {
        this.#accepted = generation;
        const before = this.#release;
        this.#release = this.store(generation).subscribe(() => {});
        before();
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
        const isResumed = after !== undefined && !isThere;
        const store = isResumed ? this.#client.watch(id, { after }) : this.#client.watch(generation);
        if (isResumed) this.#resumed.add(id);
        this.#stores.set(id, store);
        return store;
    }

    /** Did the store go on from a position that was kept? Said once: whoever looks again looks at what is known. */
    takeResumed(id: string): boolean {
        return this.#resumed.delete(id);
    }

    /** Reads the list anew: somebody looks again. */
    refresh(): void {
        void this.#mine.refresh();
    }

    more(): void {
        void this.#mine.more();
    }
}
