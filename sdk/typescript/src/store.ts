// One generation as a value that changes: what a screen subscribes to. A thin shell around `history.ts`; it connects while
// somebody listens and lets go after.

import { beginHistory, isOver, reduce, type Begin, type Effect, type GenerationState, type History, type Input } from "./history.ts";
import type { Frame } from "./frame.ts";
import type { GenerationEvent } from "./event.ts";
import type { Delivery, FrameWish } from "./live.ts";
import type { Wanted } from "./transport.ts";

/** 1,024: a consumer that is further behind gets the newest event next, which says everything a screen needs. */
const WAITING_MAX = 1_024;

/** Who connects a store. */
export interface StoreHost {
    add(store: GenerationStore): void;
    remove(store: GenerationStore): void;
    /** The wish for pictures is another. */
    wishChanged(store: GenerationStore): void;
    /** It was paused, or goes on. */
    creditChanged(store: GenerationStore): void;
}

/** A subscription to pictures. */
export interface FrameSubscription {
    /** Stops pictures for now, or lets them come again: hidden tabs, tiles off the screen. */
    pause(paused: boolean): void;
    stop(): void;
}

interface FrameListener {
    readonly wish: FrameWish;
    readonly listener: (frame: Frame) => void;
    paused: boolean;
}

export class GenerationStore {
    readonly id: string;
    readonly #host: StoreHost;
    readonly #delivery: Delivery;
    #history: History;
    readonly #listeners = new Set<() => void>();
    readonly #events = new Set<(event: GenerationEvent) => void>();
    readonly #frames = new Set<FrameListener>();
    #interest = 0;

    /** @internal */
    constructor(id: string, host: StoreHost, begin: Begin, delivery: Delivery) {
        this.id = id;
        this.#host = host;
        this.#delivery = delivery;
        this.#history = beginHistory(id, begin);
    }

    /** Calls back after each change, until the returned function is called. */
    readonly subscribe = (listener: () => void): (() => void) => {
        // The same function may subscribe twice, and leaves twice.
        const own = () => listener();
        this.#listeners.add(own);
        return this.#hold(() => this.#listeners.delete(own));
    };

    /** What is known now: the same object until something changes. */
    readonly getSnapshot = (): GenerationState => this.#history.state;

    /**
     * Pictures as they come. The greatest wish of all listeners that are not paused is what the server is asked for.
     * On the transport `sse` they come twice a second at most, on `poll` not at all.
     */
    watchFrames(wish: FrameWish, listener: (frame: Frame) => void): FrameSubscription {
        const own: FrameListener = { wish, listener, paused: false };
        this.#change(() => this.#frames.add(own));
        const release = this.#hold(() => this.#change(() => this.#frames.delete(own)));
        return {
            pause: (paused) => this.#change(() => (own.paused = paused)),
            stop: release,
        };
    }

    /** Each event once and in order, beginning with the one that is known, to the end. Throws when it is refused or deleted. */
    async *events(options: { readonly signal?: AbortSignal } = {}): AsyncGenerator<GenerationEvent, void, undefined> {
        const { signal } = options;
        signal?.throwIfAborted();
        const waiting: GenerationEvent[] = [];
        let wake = () => {};
        const begun = this.#history.state.event;
        if (begun !== null) waiting.push(begun);
        const hear = (event: GenerationEvent) => {
            if (waiting.length >= WAITING_MAX) waiting.length = 0;
            waiting.push(event);
        };
        this.#events.add(hear);
        const release = this.subscribe(() => wake());
        const abort = () => wake();
        signal?.addEventListener("abort", abort);
        try {
            for (;;) {
                signal?.throwIfAborted();
                const next = waiting.shift();
                const { phase, error } = this.#history.state;
                if (next !== undefined) yield next;
                else if (error !== null) throw error;
                else if (isOver(phase)) return;
                else await new Promise<void>((resolve) => (wake = resolve));
            }
        } finally {
            signal?.removeEventListener("abort", abort);
            this.#events.delete(hear);
            release();
        }
    }

    [Symbol.asyncIterator](): AsyncGenerator<GenerationEvent, void, undefined> {
        return this.events();
    }

    /** Waits for the terminal event. */
    async finished(options: { readonly signal?: AbortSignal } = {}): Promise<GenerationEvent> {
        let last = this.#history.state.event;
        for await (const event of this.events(options)) last = event;
        return last as GenerationEvent;
    }

    /** @internal */
    get isWatched(): boolean {
        return this.#interest > 0 && !isOver(this.#history.state.phase);
    }

    /** @internal */
    get wanted(): Wanted {
        const active = [...this.#frames].filter(({ paused }) => !paused);
        const wishes = (active.length > 0 ? active : [...this.#frames]).map(({ wish }) => wish);
        const paused = active.length === 0 && wishes.length > 0;
        const wish = wishes.length === 0 ? null : greatest(wishes);
        // Who does not look must not slow the generator.
        const frames = paused && wish !== null ? { ...wish, delivery: "latest" as const } : wish;
        return { after: this.#history.state.position, delivery: this.#delivery, frames, paused };
    }

    /** @internal */
    hear(input: Input): Effect {
        const before = this.#history.state;
        const [history, effect] = reduce(this.#history, input);
        this.#history = history;
        if (history.state === before) return effect;
        const { event } = history.state;
        if (event !== null && event !== before.event) for (const hear of this.#events) hear(event);
        for (const listener of [...this.#listeners]) call(listener);
        if (isOver(history.state.phase) && !isOver(before.phase)) this.#host.remove(this);
        return effect;
    }

    /** @internal */
    see(frame: Frame): void {
        for (const { listener, paused } of [...this.#frames]) if (!paused) call(() => listener(frame));
    }

    #hold(release: () => void): () => void {
        this.#interest += 1;
        if (this.#interest === 1 && this.isWatched) this.#host.add(this);
        let held = true;
        return () => {
            if (!held) return;
            held = false;
            release();
            this.#interest -= 1;
            if (this.#interest === 0) this.#host.remove(this);
        };
    }

    #change(how: () => void): void {
        const before = this.wanted;
        how();
        const after = this.wanted;
        if (!this.isWatched) return;
        if (JSON.stringify(before.frames) !== JSON.stringify(after.frames)) this.#host.wishChanged(this);
        else if (before.paused !== after.paused) this.#host.creditChanged(this);
    }
}

function greatest(wishes: readonly FrameWish[]): FrameWish {
    const most = (of: (wish: FrameWish) => number | undefined, usual: number) =>
        Math.max(...wishes.map((wish) => of(wish) ?? usual));
    return {
        maxFps: most((wish) => wish.maxFps, 12),
        maxWidth: most((wish) => wish.maxWidth, 854),
        delivery: wishes.some(({ delivery }) => delivery === "all") ? "all" : "latest",
    };
}

/** A callback that throws is its owner's problem, not the connection's. */
function call(listener: () => void): void {
    try {
        listener();
    } catch (error) {
        const { reportError } = globalThis as { reportError?: (error: unknown) => void };
        if (reportError) reportError(error);
        else console.error(error);
    }
}
