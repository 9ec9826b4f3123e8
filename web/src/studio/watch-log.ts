// Listens to the store of the open generation: keeps its position for a reload, and its log for the drawer. What came is
// logged with the frame that shows it, so that "commit to screen" means the screen.

import type { GenerationState, GenerationStore } from "@rushes/client";
import { beginLog, record, type EventLog } from "./event-log.ts";
import type { Positions } from "./positions.ts";

export class WatchLog {
    readonly #listeners = new Set<() => void>();
    readonly #positions: Positions;
    /** States since the last frame: each event is met in the phase it came in. */
    #pending: GenerationState[] = [];
    #frame: number | null = null;
    #log: EventLog;
    readonly #store: GenerationStore;
    #stop = () => {};

    constructor(store: GenerationStore, positions: Positions, isResumed: boolean) {
        this.#log = beginLog(isResumed);
        this.#positions = positions;
        this.#store = store;
    }

    /** Begins to listen. After the player, so that the first subscription asks for pictures at once and no second one has to. */
    open(): void {
        this.#stop();
        const look = () => this.#look(this.#store.getSnapshot());
        this.#stop = this.#store.subscribe(look);
        look();
    }

    readonly subscribe = (listener: () => void): (() => void) => {
        const own = () => listener();
        this.#listeners.add(own);
        return () => void this.#listeners.delete(own);
    };

    readonly getSnapshot = (): EventLog => this.#log;

    close(): void {
        this.#stop();
        if (this.#frame !== null) cancelAnimationFrame(this.#frame);
        this.#listeners.clear();
    }

    #look(state: GenerationState): void {
        if (state.phase === "gone") this.#positions.forget(state.id);
        else if (state.position !== null && state.event !== null) this.#positions.keep(state.id, state.position);
        this.#pending.push(state);
        // A hidden page has no frames, and must not pile anything up for the next one.
        if (document.hidden) return this.#flush();
        this.#frame ??= requestAnimationFrame(() => this.#flush());
    }

    #flush(): void {
        if (this.#frame !== null) cancelAnimationFrame(this.#frame);
        this.#frame = null;
        const [pending, now] = [this.#pending, Date.now()];
        this.#pending = [];
        const log = pending.reduce((before, state) => record(before, state, now), this.#log);
        if (log === this.#log) return;
        this.#log = log;
        for (const listener of [...this.#listeners]) listener();
    }
}
