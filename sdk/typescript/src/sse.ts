// Server-sent events from text that comes in any pieces. Pure: the bytes are decoded and the stream is read elsewhere.

/** One event of a stream. */
export interface SseEvent {
    /** `message` when the stream did not name it. */
    readonly name: string;
    readonly data: string;
    /** Its own id; absent when it has none. */
    readonly id?: string;
}

/** What a piece of text completed. */
export interface SseParsed {
    readonly events: readonly SseEvent[];
    /** The last `retry:` in it, in milliseconds. */
    readonly retryMs?: number;
}

/** 1 MiB: an event is at most some ten KiB; whatever sends an endless line is not this server. */
const PENDING_CHARACTERS_MAX = 1_048_576;

/** Keeps what is incomplete between two pieces. */
export class SseParser {
    #pending = "";
    #name = "";
    #data: string[] = [];
    #id: string | undefined;

    /** Takes the next piece, cut anywhere. Throws a RangeError when a line has no end. */
    push(piece: string): SseParsed {
        const events: SseEvent[] = [];
        let retryMs: number | undefined;
        let text = this.#pending + piece;
        // Only the byte order mark at the very beginning is no text; TextDecoder drops it.
        let from = 0;
        const lineEnd = /\r\n|\n|\r/g;
        for (let match = lineEnd.exec(text); match !== null; match = lineEnd.exec(text)) {
            // A CR at the end of a piece may be half of a CRLF.
            if (match[0] === "\r" && lineEnd.lastIndex === text.length) break;
            const line = text.slice(from, match.index);
            from = lineEnd.lastIndex;
            if (line === "") {
                const event = this.#dispatch();
                if (event !== null) events.push(event);
            } else {
                retryMs = this.#field(line) ?? retryMs;
            }
        }
        text = text.slice(from);
        if (text.length > PENDING_CHARACTERS_MAX) throw new RangeError("a line without an end");
        this.#pending = text;
        return { events, ...(retryMs !== undefined && { retryMs }) };
    }

    #field(line: string): number | undefined {
        const colon = line.indexOf(":");
        const field = colon < 0 ? line : line.slice(0, colon);
        const value = colon < 0 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
        switch (field) {
            case "event":
                this.#name = value;
                return undefined;
            case "data":
                this.#data.push(value);
                return undefined;
            case "id":
                if (!value.includes("\0")) this.#id = value;
                return undefined;
            case "retry":
                return /^\d+$/.test(value) ? Number(value) : undefined;
            default:
                return undefined; // A comment, or a field of a later standard.
        }
    }

    #dispatch(): SseEvent | null {
        const event =
            this.#data.length === 0
                ? null
                : { name: this.#name || "message", data: this.#data.join("\n"), ...(this.#id !== undefined && { id: this.#id }) };
        this.#name = "";
        this.#data = [];
        this.#id = undefined;
        return event;
    }
}
