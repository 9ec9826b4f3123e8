// Calls over HTTP: token, deadline, and errors that are all of one kind. Which calls there are is the business of `client.ts`.

import { backoffMs } from "./backoff.ts";
import { errorOfAnswer, RushesError } from "./errors.ts";
import type { Tokens } from "./tokens.ts";
import type { World } from "./world.ts";

/** 4: with the waits between them, a restart of the server is bridged. */
const TRIES_MAX = 4;

export interface Call {
    readonly method?: string;
    readonly headers?: Record<string, string>;
    readonly body?: unknown;
    readonly signal?: AbortSignal | undefined;
    /** The same call again does nothing twice, so it is made again when it failed and that may help. */
    readonly repeatable?: boolean;
}

export class Http {
    readonly base: string;
    readonly #tokens: Tokens;
    readonly #world: World;

    constructor(base: string, tokens: Tokens, world: World) {
        this.base = base;
        this.#tokens = tokens;
        this.#world = world;
    }

    /** The answer's JSON, or null when it has none to give. */
    async call<T>(path: string, call: Call = {}): Promise<T> {
        for (let attempt = 1; ; attempt += 1) {
            try {
                return await this.#once<T>(path, call);
            } catch (error) {
                const again = error instanceof RushesError && error.retryable && call.repeatable === true && attempt < TRIES_MAX;
                if (!again) throw error;
                const waitMs = backoffMs(attempt, this.#world.timing, this.#world.random(), error.retryAfterMs);
                await pause(this.#world, waitMs, call.signal);
            }
        }
    }

    /**
     * One answer, whatever its status but 401: with that, a new token is asked for, once. The caller's signal is the only
     * deadline. Rejects with `unreachable` when there is no answer.
     */
    async open(path: string, call: Call): Promise<Response> {
        for (let isSecond = false; ; isSecond = true) {
            const token = await this.#tokens.get();
            const response = await this.#fetch(path, call, token);
            if (response.status !== 401) return response;
            this.#tokens.refuse(token);
            if (isSecond) throw await this.failure(response);
            await response.body?.cancel();
        }
    }

    /** What an answer that is not `ok` means. */
    async failure(response: Response): Promise<RushesError> {
        const body: unknown = await response.json().catch(() => null);
        return errorOfAnswer(response.status, body, response.headers.get("retry-after"));
    }

    async json(response: Response): Promise<unknown> {
        return response.json().catch((cause: unknown) => {
            throw new RushesError("bad_answer", "the answer is no JSON", true, { cause });
        });
    }

    async #once<T>(path: string, call: Call): Promise<T> {
        const { signal } = call;
        const deadline = within(this.#world, this.#world.timing.callMs, signal);
        try {
            signal?.throwIfAborted();
            const response = await this.open(path, { ...call, signal: deadline.signal });
            if (!response.ok) throw await this.failure(response);
            return response.status === 204 ? (null as T) : ((await this.json(response)) as T);
        } catch (error) {
            signal?.throwIfAborted();
            throw error;
        } finally {
            deadline.stop();
        }
    }

    async #fetch(path: string, call: Call, token: string | null): Promise<Response> {
        const headers: Record<string, string> = { accept: "application/json", ...call.headers };
        if (token !== null) headers.authorization = `Bearer ${token}`;
        if (call.body !== undefined) headers["content-type"] = "application/json";
        try {
            return await this.#world.fetch(this.base + path, {
                method: call.method ?? "GET",
                headers,
                // The server's answers are not for a cache; a page of events must never be an old one.
                cache: "no-store",
                ...(call.body !== undefined && { body: JSON.stringify(call.body) }),
                ...(call.signal && { signal: call.signal }),
            });
        } catch (cause) {
            throw new RushesError("unreachable", `no answer from ${this.base}`, true, { cause });
        }
    }
}

/** A signal that is aborted with `signal`, or after so many milliseconds. `stop` when it is not needed any more. */
export function within(world: World, ms: number, signal: AbortSignal | undefined): { readonly signal: AbortSignal; stop(): void } {
    const both = new AbortController();
    const abort = () => both.abort();
    const calm = world.after(ms, abort);
    signal?.addEventListener("abort", abort);
    const stop = () => {
        calm();
        signal?.removeEventListener("abort", abort);
    };
    return { signal: both.signal, stop };
}

/** Waits; rejects with the signal's reason when that comes first. */
export function pause(world: World, ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
        const abort = () => {
            stop();
            reject(signal?.reason);
        };
        const stop = world.after(ms, () => {
            signal?.removeEventListener("abort", abort);
            resolve();
        });
        if (signal?.aborted) abort();
        else signal?.addEventListener("abort", abort);
    });
}
