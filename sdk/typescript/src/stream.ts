// Server-sent events over fetch, so that headers can be set. A stream for each of the first few generations, and turns for
// the others.

import { endingOfError, type Ending } from "./ending.ts";
import { errorOf, RushesError } from "./errors.ts";
import { decodeEvent, decodeHint } from "./event.ts";
import type { Http } from "./http.ts";
import { isFinal, pathOf, state } from "./pages.ts";
import { SseParser, type SseEvent } from "./sse.ts";
import { headerOfTag } from "./tag.ts";
import type { Tokens } from "./tokens.ts";
import type { Outlet, Transport } from "./transport.ts";
import { Turns } from "./turns.ts";
import type { World } from "./world.ts";

/** 3 streams and a request beside them, of the six connections a browser has to a host. */
const STREAMS_MAX = 3;

/** A minute: a longer `retry:`, like that of a day at the end, is for pages that would come back for nothing. */
const RETRY_MS_MAX = 60_000;

export class StreamTransport implements Transport {
    readonly #http: Http;
    readonly #tokens: Tokens;
    readonly #world: World;
    readonly #outlet: Outlet;
    readonly #turns: Turns;
    readonly #streams = new Map<string, AbortController>();
    /** Their position is gone: the next status is the state to go on from. */
    readonly #lost = new Set<string>();
    /** Tags of the last pictures, and whether one is being fetched. */
    readonly #pictures = new Map<string, string>();
    readonly #fetching = new Set<string>();
    #isOver = false;

    constructor(ids: Iterable<string>, http: Http, tokens: Tokens, world: World, outlet: Outlet) {
        this.#http = http;
        this.#tokens = tokens;
        this.#world = world;
        this.#outlet = outlet;
        this.#turns = new Turns(1, http, world, outlet, (ending) => this.#end(ending));
        for (const id of ids) this.join(id);
    }

    join(id: string): void {
        if (this.#isOver) return;
        if (this.#turns.has(id)) return;
        this.#streams.get(id)?.abort();
        if (!this.#streams.has(id) && this.#streams.size >= STREAMS_MAX) return this.#turns.add(id);
        const stop = new AbortController();
        this.#streams.set(id, stop);
        void this.#read(id, stop);
    }

    leave(id: string): void {
        this.#streams.get(id)?.abort();
        this.#streams.delete(id);
        this.#pictures.delete(id);
        this.#turns.remove(id);
    }

    credit(): void {}

    close(): void {
        this.#isOver = true;
        this.#turns.close();
        for (const stop of this.#streams.values()) stop.abort();
        this.#streams.clear();
    }

    async #read(id: string, stop: AbortController): Promise<void> {
        let isMute = false;
        let afterMs: number | undefined;
        let unguard = () => {};
        const guard = (ms: number) => {
            unguard();
            unguard = this.#world.after(ms, () => {
                isMute = true;
                stop.abort();
            });
        };
        try {
            guard(this.#world.timing.openMs);
            const reader = await this.#open(id, stop.signal);
            const [parser, decoder] = [new SseParser(), new TextDecoder()];
            for (let isFirst = true; ; isFirst = false) {
                const { done, value } = await reader.read();
                if (stop.signal.aborted) break;
                if (done) return this.#end({ kind: "lost", loss: { afterMs } });
                if (isFirst) this.#outlet.opened();
                guard(this.#world.timing.streamMuteMs);
                const parsed = parser.push(decoder.decode(value, { stream: true }));
                if (parsed.retryMs !== undefined && parsed.retryMs <= RETRY_MS_MAX) afterMs = parsed.retryMs;
                for (const event of parsed.events) {
                    this.#hear(id, event);
                    if (stop.signal.aborted) return;
                }
                // What was missed fits the first piece, or the rest follows at once.
                if (isFirst) this.#outlet.heard(id, { kind: "subscribed" });
            }
        } catch (error) {
            if (!stop.signal.aborted) return this.#fail(id, error, afterMs);
        } finally {
            unguard();
            stop.abort();
        }
        if (isMute) this.#end({ kind: "lost", loss: { mute: true } });
    }

    async #open(id: string, signal: AbortSignal): Promise<ReadableStreamDefaultReader<Uint8Array>> {
        if (this.#outlet.wanted(id)?.after === null) await state(this.#http, id, this.#outlet, signal);
        const wanted = this.#outlet.wanted(id);
        const frames = wanted?.frames && !wanted.paused ? "&frames" : "";
        const path = pathOf(id, `/events?after=${encodeURIComponent(wanted?.after ?? "start")}${frames}`);
        const response = await this.#http.open(path, { headers: { accept: "text/event-stream" }, signal });
        if (!response.ok) throw await this.#http.failure(response);
        if (response.body === null || !response.headers.get("content-type")?.startsWith("text/event-stream")) {
            throw new RushesError("bad_answer", "the answer is not a stream of events", true);
        }
        return response.body.getReader();
    }

    #hear(id: string, { name, data, id: position }: SseEvent): void {
        switch (name) {
            case "message": {
                const wire: unknown = JSON.parse(data);
                const [hint, event] = [decodeHint(wire), decodeEvent(wire)];
                if (hint !== null) this.#outlet.heard(id, { kind: "hint", hint });
                else if (event !== null && position !== undefined) {
                    const snapshot = this.#lost.delete(id);
                    this.#outlet.heard(id, { kind: "event", event, position, snapshot });
                }
                return;
            }
            case "recovery":
                this.#lost.add(id);
                return;
            case "frame":
                void this.#fetch(id);
                return;
            case "gone":
                this.#outlet.heard(id, { kind: "gone", error: new RushesError("not_found", "the generation was deleted", false) });
                return;
            case "done":
                this.#outlet.heard(id, { kind: "done" });
                return;
            case "expired":
                this.#tokens.refuse();
                return this.#end({ kind: "token" });
            case "problem":
                throw errorOf(JSON.parse(data));
        }
    }

    /** The picture that was announced; when more are announced meanwhile, the newest is there by the next announcement. */
    async #fetch(id: string): Promise<void> {
        if (this.#fetching.has(id)) return;
        this.#fetching.add(id);
        try {
            const signal = this.#streams.get(id)?.signal;
            const known = this.#pictures.get(id);
            const headers = { accept: "image/*", ...(known !== undefined && { "if-none-match": known }) };
            const response = await this.#http.open(pathOf(id, "/frames/latest"), { headers, signal });
            const tag = response.headers.get("etag");
            const header = headerOfTag(id, tag, response.headers.get("content-type"));
            const picture = new Uint8Array(await response.arrayBuffer());
            if (!response.ok || header === null || tag === null || signal?.aborted) return;
            this.#pictures.set(id, tag);
            this.#outlet.frame({ header, picture });
        } catch {
            // The next announcement brings the next picture.
        } finally {
            this.#fetching.delete(id);
        }
    }

    #fail(id: string, error: unknown, afterMs: number | undefined): void {
        if (error instanceof RushesError && isFinal(error)) {
            this.#streams.delete(id);
            this.#outlet.heard(id, { kind: "refused", error });
            return;
        }
        // Cut in the middle, or an event that is no JSON: whatever came before it counts.
        this.#end(error instanceof RushesError ? endingOfError(error) : { kind: "lost", loss: { afterMs } });
    }

    #end(ending: Ending): void {
        if (this.#isOver) return;
        this.close();
        this.#outlet.ended(ending);
    }
}
