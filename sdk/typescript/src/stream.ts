// Server-sent events over fetch, so that headers can be set. One stream for all that fit, each from its own position; two
// more when there are many, and turns for the rest.

import { endingOfError, type Ending } from "./ending.ts";
import { errorOf, RushesError, type Told } from "./errors.ts";
import { decodeEvent, decodeHint } from "./event.ts";
import type { Http } from "./http.ts";
import { isFinal, pathOf } from "./pages.ts";
import { SseParser, type SseEvent } from "./sse.ts";
import { headerOfTag } from "./tag.ts";
import type { Tokens } from "./tokens.ts";
import { ALL_OF_MINE, type Outlet, type Transport } from "./transport.ts";
import { Turns } from "./turns.ts";
import type { World } from "./world.ts";

/** 3 streams and a request beside them, of the six connections a browser has to a host. */
const STREAMS_MAX = 3;
/** 32 in one stream: their ids and positions make an address of 2 KB, which every proxy takes. The server would take 64. */
const IN_STREAM_MAX = 32;
/** 20 ms: those that join and leave together open a stream once. */
const GATHER_MS = 20;

/** A minute: a longer `retry:`, like that of a day at the end, is for pages that would come back for nothing. */
const RETRY_MS_MAX = 60_000;

/** Some generations, or all of one's own, in one answer. */
interface Stream {
    readonly ids: Set<string>;
    /** It was opened with this one, which calls may have replaced since. */
    token: string | null;
    /** Ends what is open of it. */
    stop: () => void;
}

export class StreamTransport implements Transport {
    readonly #http: Http;
    readonly #tokens: Tokens;
    readonly #world: World;
    readonly #outlet: Outlet;
    readonly #turns: Turns;
    readonly #streams = new Set<Stream>();
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

    /** Each begins at its own position, so opening the stream of all of them again loses and repeats nothing. */
    join(id: string): void {
        if (this.#isOver || this.#turns.has(id)) return;
        const stream = this.#streamOf(id) ?? this.#room(id);
        if (stream === null) return this.#turns.add(id);
        stream.ids.add(id);
        this.#restart(stream);
    }

    leave(id: string): void {
        this.#pictures.delete(id);
        this.#turns.remove(id);
        const stream = this.#streamOf(id);
        if (stream === undefined) return;
        stream.ids.delete(id);
        if (stream.ids.size > 0) return this.#restart(stream);
        stream.stop();
        this.#streams.delete(stream);
    }

    /** Pictures are announced of those that are looked at, which stands in the address. */
    credit(id: string): void {
        this.join(id);
    }

    close(): void {
        this.#isOver = true;
        this.#turns.close();
        for (const stream of this.#streams) stream.stop();
        this.#streams.clear();
    }

    #streamOf(id: string): Stream | undefined {
        return [...this.#streams].find(({ ids }) => ids.has(id));
    }

    #room(id: string): Stream | null {
        const isAlone = id === ALL_OF_MINE;
        const shared = [...this.#streams].filter(({ ids }) => !ids.has(ALL_OF_MINE));
        const found = isAlone ? undefined : shared.find(({ ids }) => ids.size < IN_STREAM_MAX);
        if (found !== undefined) return found;
        // The last one is kept for the list of one's own.
        if (!isAlone && shared.length >= STREAMS_MAX - 1) return null;
        const made = { ids: new Set<string>(), token: null, stop: () => {} };
        this.#streams.add(made);
        return made;
    }

    #restart(stream: Stream): void {
        stream.stop();
        stream.stop = this.#world.after(GATHER_MS, () => {
            const stop = new AbortController();
            stream.stop = () => stop.abort();
            void this.#read(stream, stop);
        });
    }

    async #read(stream: Stream, stop: AbortController): Promise<void> {
        const { ids } = stream;
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
            const reader = await this.#open(stream, stop.signal);
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
                    this.#hear(stream, event);
                    if (stop.signal.aborted) return;
                }
                // What was missed fits the first piece, or the rest follows at once.
                if (isFirst) for (const id of [...ids]) this.#outlet.heard(id, { kind: "subscribed" });
            }
        } catch (error) {
            if (!stop.signal.aborted) return this.#fail(stream, error, afterMs);
        } finally {
            unguard();
            stop.abort();
        }
        if (isMute) this.#end({ kind: "lost", loss: { mute: true } });
    }

    async #open(stream: Stream, signal: AbortSignal): Promise<ReadableStreamDefaultReader<Uint8Array>> {
        // `Http.open` begins with it. Should it have to ask for another, refusing this one again does nothing.
        stream.token = await this.#tokens.get();
        const query = new URLSearchParams();
        for (const id of stream.ids) {
            const wanted = this.#outlet.wanted(id);
            if (id !== ALL_OF_MINE) query.append("generation", wanted?.after ? `${id}@${wanted.after}` : id);
            else query.set("mine", "1");
            if (wanted?.cursor) query.set("after", wanted.cursor);
            if (wanted?.frames && !wanted.paused) query.append("frames", id);
        }
        const response = await this.#http.open(`/v1/events?${query}`, { headers: { accept: "text/event-stream" }, signal });
        if (!response.ok) throw await this.#http.failure(response);
        if (response.body === null || !response.headers.get("content-type")?.startsWith("text/event-stream")) {
            throw new RushesError("bad_answer", "the answer is not a stream of events", true);
        }
        return response.body.getReader();
    }

    #hear({ ids, token }: Stream, { name, data, id: cursor }: SseEvent): void {
        // Its place stands beside the fields of the event, and is none of them.
        const { position: place, ...wire } = JSON.parse(data) as Told & { readonly generationId?: string; readonly position?: string };
        const own = wire.generationId ?? "";
        const isMine = ids.has(ALL_OF_MINE);
        const id = isMine ? ALL_OF_MINE : own;
        switch (name) {
            case "message": {
                const [hint, event] = [decodeHint(wire), decodeEvent(wire)];
                const position = isMine ? cursor : place;
                if (hint !== null) this.#outlet.heard(id, { kind: "hint", hint });
                else if (event !== null && position !== undefined) {
                    const snapshot = this.#lost.delete(own);
                    this.#outlet.heard(id, { kind: "event", event, position, snapshot });
                }
                return;
            }
            case "recovery":
                this.#lost.add(own);
                return;
            case "frame":
                if (ids.has(own)) void this.#fetch(own);
                return;
            case "gone":
                this.#outlet.heard(own, { kind: "gone", error: new RushesError("not_found", "the generation was deleted", false) });
                return;
            case "ended":
                if (ids.has(own)) this.#outlet.heard(own, { kind: "done" });
                return;
            case "expired":
                this.#tokens.refuse(token);
                return this.#end({ kind: "token" });
            case "problem":
                throw errorOf(wire);
        }
    }

    /** The picture that was announced; when more are announced meanwhile, the newest is there by the next announcement. */
    async #fetch(id: string): Promise<void> {
        if (this.#fetching.has(id)) return;
        this.#fetching.add(id);
        try {
            const known = this.#pictures.get(id);
            const headers = { accept: "image/*", ...(known !== undefined && { "if-none-match": known }) };
            const response = await this.#http.open(pathOf(id, "/frames/latest"), { headers });
            const tag = response.headers.get("etag");
            const header = headerOfTag(id, tag, response.headers.get("content-type"));
            const picture = new Uint8Array(await response.arrayBuffer());
            if (!response.ok || header === null || tag === null || this.#streamOf(id) === undefined) return;
            this.#pictures.set(id, tag);
            this.#outlet.frame({ header, picture });
        } catch {
            // The next announcement brings the next picture.
        } finally {
            this.#fetching.delete(id);
        }
    }

    #fail(stream: Stream, error: unknown, afterMs: number | undefined): void {
        if (!(error instanceof RushesError && isFinal(error))) {
            // Cut in the middle, or an event that is no JSON: whatever came before it counts.
            return this.#end(error instanceof RushesError ? endingOfError(error) : { kind: "lost", loss: { afterMs } });
        }
        // Of several, the refusal names the one it is about. Without a name none of them can be served.
        const named = (error.details as { readonly generationId?: string } | undefined)?.generationId ?? "";
        const refused = stream.ids.has(named) ? [named] : [...stream.ids];
        for (const id of refused) {
            this.leave(id);
            this.#outlet.heard(id, { kind: "refused", error });
        }
    }

    #end(ending: Ending): void {
        if (this.#isOver) return;
        this.close();
        this.#outlet.ended(ending);
    }
}
