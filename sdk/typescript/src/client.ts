// The front door: what can be asked of a server, and a store for each generation that is watched.

import { Connection } from "./connection.ts";
import { RushesError } from "./errors.ts";
import { isGenerationId } from "./event.ts";
import type { Accepted, Generation, GenerationPage, ListQuery, Priority, Submission } from "./generation.ts";
import { Http } from "./http.ts";
import { RUNGS, type Rung } from "./ladder.ts";
import type { Delivery } from "./live.ts";
import { pathOf } from "./pages.ts";
import { readPosition } from "./position.ts";
import { GenerationStore } from "./store.ts";
import { Tokens, type GetToken } from "./tokens.ts";
import { theWorld, type Timing } from "./world.ts";

export interface Options {
    /** Where the server is: `https://video.example`. */
    readonly url: string | URL;
    /**
     * Gives a token, and a new one when the server refused it. Without it none is sent, which a server in demo mode takes.
     */
    readonly getToken?: GetToken;
    /** Ways to the server, best first. All three unless said otherwise. */
    readonly transports?: readonly Rung[];
    /** For platforms without one (Node 20): that of the package `ws`. */
    readonly WebSocket?: unknown;
    readonly fetch?: typeof fetch;
    /** Waits and patience; the defaults suit browsers. */
    readonly timing?: Partial<Timing>;
}

export interface CallOptions {
    readonly signal?: AbortSignal;
}

export interface SubmitOptions extends CallOptions {
    /**
     * The same key and the same submission are the same generation, however often it is sent. Made at random unless given;
     * give one where a repeat comes from outside, as from a second click.
     */
    readonly idempotencyKey?: string;
}

export interface WatchOptions {
    /** `start` for all events there were, or a position that was kept. The current state unless said otherwise. */
    readonly after?: string;
    /** `latest` lets the server leave out progress that newer events replaced. */
    readonly delivery?: Delivery;
}

export class Rushes {
    /** How the server is reached at the moment, as a value. */
    readonly connection: Connection;
    readonly #http: Http;
    /** While anybody holds a store, it is the one of its generation. */
    readonly #stores = new Map<string, WeakRef<GenerationStore>>();

    constructor(options: Options) {
        const world = theWorld(options);
        const tokens = new Tokens(options.getToken);
        this.#http = new Http(String(options.url).replace(/\/+$/, ""), tokens, world);
        this.connection = new Connection(this.#http, tokens, world, options.transports ?? RUNGS);
    }

    /** Submits a generation. Resolves when it is durable; a repeat after a lost answer makes no second one. */
    submit(submission: Submission, options: SubmitOptions = {}): Promise<Accepted> {
        const key = options.idempotencyKey ?? randomKey();
        return this.#http.call("/v1/generations", {
            method: "POST",
            body: submission,
            headers: { "idempotency-key": key },
            signal: options.signal,
            repeatable: true,
        });
    }

    get(id: string, options: CallOptions = {}): Promise<Generation> {
        return this.#http.call(pathOf(id), { ...options, repeatable: true });
    }

    /** A page of one's own, newest first. */
    list(query: ListQuery = {}, options: CallOptions = {}): Promise<GenerationPage> {
        const params = new URLSearchParams();
        for (const [key, value] of Object.entries(query)) if (value !== undefined) params.set(key, String(value));
        return this.#http.call(`/v1/generations?${params}`, { ...options, repeatable: true });
    }

    /** Asks it to stop. After the end, answers the end. */
    cancel(id: string, options: CallOptions = {}): Promise<Generation> {
        return this.#http.call(pathOf(id, "/cancel"), { method: "POST", ...options, repeatable: true });
    }

    /** A new generation of the same input, sharing what was finished. */
    retry(id: string, options: SubmitOptions = {}): Promise<Accepted> {
        return this.#http.call(pathOf(id, "/retry"), {
            method: "POST",
            headers: { "idempotency-key": options.idempotencyKey ?? randomKey() },
            signal: options.signal,
            repeatable: true,
        });
    }

    /** Changes the place of one that waits. */
    prioritize(id: string, priority: Priority, options: CallOptions = {}): Promise<Generation> {
        return this.#http.call(pathOf(id), { method: "PATCH", body: { priority }, ...options, repeatable: true });
    }

    /** Deletes one that has ended, with its events and files. */
    async delete(id: string, options: CallOptions = {}): Promise<void> {
        await this.#http.call(pathOf(id), { method: "DELETE", ...options });
    }

    /**
     * The store of a generation, by its id, or by what `submit`, `get` and `list` answered, which saves asking for the state.
     * It connects while somebody listens. `options` count for the first call; the store stays the same while it is held.
     */
    watch(generation: string | Generation, options: WatchOptions = {}): GenerationStore {
        const id = typeof generation === "string" ? generation : generation.id;
        if (!isGenerationId(id)) throw new RushesError("invalid_request", `\`${id}\` is no id`, false);
        const { delivery = "all" } = options;
        const after = options.after === "start" ? "start" : readPosition(options.after);
        const held = this.#stores.get(id)?.deref();
        // One that was refused for the moment may do better now.
        if (held !== undefined && !held.getSnapshot().error?.retryable) return held;
        for (const [other, store] of this.#stores) if (store.deref() === undefined) this.#stores.delete(other);
        const known = typeof generation !== "string" && after === undefined;
        const begin = known ? { after: generation.position, event: generation.status } : after === undefined ? {} : { after };
        const store = new GenerationStore(id, this.connection, begin, delivery);
        this.#stores.set(id, new WeakRef(store));
        return store;
    }

    /** Ends everything. Stores that had not ended are refused with `closed`. */
    close(): void {
        this.connection.close();
    }
}

/** 128 random bits; `crypto.randomUUID` is missing on pages without https. */
function randomKey(): string {
    return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
