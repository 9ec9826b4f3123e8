// The live socket: one for all generations that are watched.

import { endingOfClose, type Ending } from "./ending.ts";
import { RushesError } from "./errors.ts";
import { decodeFrame } from "./frame.ts";
import type { Input } from "./history.ts";
import { decodeServerMessage, type ClientMessage, type ServerMessage } from "./live.ts";
import type { Tokens } from "./tokens.ts";
import { ALL_OF_MINE, type Outlet, type Transport } from "./transport.ts";
import { watch, type Watchdog } from "./watchdog.ts";
import type { WebSocketLike, World } from "./world.ts";

/** More than anybody takes: unpauses. */
const CREDIT_MAX = 0xffff_ffff;

/** Where the `subscribe` of a generation stands. Numbers, because they are small when bundled. */
const ANSWERED = 0;
const ASKED = 1;
const ASK_AGAIN = 2;

export class SocketTransport implements Transport {
    readonly #url: string;
    readonly #tokens: Tokens;
    readonly #world: World;
    readonly #outlet: Outlet;
    #socket: WebSocketLike | null = null;
    #token: string | null = null;
    /** Set when the socket is begun, and looked at from then on. */
    #dog!: Watchdog;
    #isOpen = false;
    #isOver = false;
    /**
     * What is watched. One `subscribe` of each at a time: the server may answer two at once by one `subscribed`. What is
     * wanted meanwhile is asked for when the answer is there.
     */
    readonly #joined = new Map<string, number>();
    /** What `unsubscribe` was said of and not answered yet: what is heard of it until then is of the past. */
    #left: string[] = [];
    /** All of one's own was watched on this socket, so the server may tell of what nobody else asked for. */
    #isListed = false;
    /** Something was refused that will be said again. */
    #isSlowed = false;
    readonly #timers = new Set<() => void>();
    #reconnectMs: number | undefined;

    constructor(base: string, ids: Iterable<string>, tokens: Tokens, world: World, outlet: Outlet) {
        this.#url = `${base.replace(/^http/, "ws")}/v1/live`;
        this.#tokens = tokens;
        this.#world = world;
        this.#outlet = outlet;
        for (const id of ids) this.#joined.set(id, ANSWERED);
        void this.#open();
    }

    join(id: string): void {
        const isAsked = this.#joined.get(id);
        const wanted = this.#isOpen ? this.#outlet.wanted(id) : null;
        this.#joined.set(id, isAsked ? ASK_AGAIN : wanted ? ASKED : ANSWERED);
        if (isAsked || !wanted) return;
        // What the list tells of it stands elsewhere than the store, and may be on its way still.
        if (isAsked === undefined && this.#isListed) this.#unsubscribe(id);
        this.#isListed ||= id === ALL_OF_MINE;
        this.#say({
            type: "subscribe",
            ...whose(id),
            delivery: wanted.delivery,
            ...(wanted.after !== null && { after: wanted.after }),
            ...(wanted.frames !== null && { frames: wanted.frames }),
        });
        if (wanted.paused) this.credit(id);
    }

    leave(id: string, isAsked = this.#joined.get(id)): void {
        this.#joined.delete(id);
        if (isAsked === undefined || !this.#isOpen) return;
        const isListed = this.#joined.has(ALL_OF_MINE);
        // The list of all one's own wants its events still. Pictures are wanted no more, which may not be said yet.
        if (isListed && !isAsked) return;
        this.#unsubscribe(id);
        if (isListed) this.join(ALL_OF_MINE);
    }

    credit(id: string): void {
        const wanted = this.#isOpen ? this.#outlet.wanted(id) : null;
        if (wanted?.frames) this.#say({ type: "credit", generationId: id, frames: wanted.paused ? 0 : CREDIT_MAX });
    }

    close(): void {
        if (this.#isOver) return;
        this.#isOver = true;
        for (const stop of this.#timers) stop();
        const socket = this.#socket;
        if (socket === null) return;
        socket.onopen = socket.onmessage = socket.onclose = null;
        // `ws` throws for a socket closed while it connects, by an event.
        socket.onerror = () => {};
        socket.close(1000);
    }

    async #open(): Promise<void> {
        try {
            this.#token = await this.#tokens.get();
        } catch (error) {
            const told = error as RushesError;
            return told.retryable ? this.#lose(told) : this.#end({ kind: "token" });
        }
        if (this.#isOver) return;
        this.#dog = { heardAt: this.#world.now(), askedAt: this.#world.now() };
        try {
            this.#listen(new this.#world.WebSocket!(this.#url, "rushes.v1"));
        } catch (cause) {
            // A page under https may not open a plain socket, for example.
            return this.#lose(new RushesError("bad_answer", "no socket", true, { cause }));
        }
        this.#guard();
    }

    #listen(socket: WebSocketLike): void {
        this.#socket = socket;
        socket.binaryType = "arraybuffer";
        socket.onopen = () => {
            if (this.#token !== null) this.#say({ type: "authenticate", token: this.#token });
        };
        socket.onmessage = ({ data }: { data: unknown }) => this.#hear(data);
        socket.onerror = () => {};
        socket.onclose = ({ code }: { code: number }) => {
            const ending = endingOfClose(code, this.#reconnectMs);
            if (ending.kind === "token") this.#tokens.refuse(this.#token);
            this.#end(ending);
        };
    }

    #hear(data: unknown): void {
        this.#dog = { heardAt: this.#world.now(), askedAt: this.#isOpen ? null : this.#dog.askedAt };
        if (typeof data === "string") return this.#obey(decodeServerMessage(data));
        if (!(data instanceof ArrayBuffer)) return;
        const frame = decodeFrame(data);
        if (typeof frame !== "string") this.#outlet.frame(frame);
    }

    #obey(message: ServerMessage): void {
        switch (message.kind) {
            case "authenticated":
                if (this.#isOpen) return;
                this.#isOpen = true;
                this.#dog = { ...this.#dog, askedAt: null };
                this.#outlet.opened();
                // All one's own last, whose sign sorts before all ids: what has a place of its own goes on from there.
                for (const id of [...this.#joined.keys()].sort().reverse()) this.join(id);
                return;
            case "event":
                return this.#heard(message.event.generationId, message);
            case "hint":
                return this.#heard(message.hint.generationId, message);
            case "subscribed":
                return this.#answered(message);
            case "done":
                // It ends the subscription before the one that was asked for since.
                if (this.#joined.get(message.generationId)) return;
                return this.#heard(message.generationId, message);
            case "error":
                return this.#refused(message.error, message.generationId);
            case "reconnect":
                this.#reconnectMs = message.afterMs;
                return;
            case "unsubscribed": {
                const { generationId: id = ALL_OF_MINE } = message;
                const at = this.#left.indexOf(id);
                if (at >= 0) this.#left.splice(at, 1);
                return;
            }
            default:
                // Nothing to do; a kind that is added to the union has to be put somewhere.
                message.kind satisfies "accepted" | "backpressure" | "pong" | "unknown";
        }
    }

    /** The list hears of the past too: what follows begins at the place of the store, which may be further. */
    #heard(id: string, input: Input): void {
        this.#outlet.heard(id, input, this.#left.includes(id));
    }

    #unsubscribe(id: string): void {
        this.#left.push(id);
        this.#say({ type: "unsubscribe", ...whose(id) });
    }

    #answered(message: ServerMessage & { kind: "subscribed" }): void {
        const { generationId: id = ALL_OF_MINE } = message;
        const before = this.#joined.get(id);
        if (before === undefined || this.#left.includes(id)) return;
        this.#joined.set(id, ANSWERED);
        if (before === ASK_AGAIN) this.join(id);
        else this.#outlet.heard(id, message);
    }

    #refused(error: RushesError, id: string | undefined): void {
        if (!error.retryable) {
            // What is said of none, as of a token, a close follows and says it.
            if (id === undefined) return;
            this.#joined.delete(id);
            return void this.#outlet.heard(id, { kind: "refused", error });
        }
        if (this.#isSlowed) return;
        // Asked too fast, or the store cannot be read: what waits for an answer is said again, once for all refusals.
        this.#isSlowed = true;
        this.#later(this.#world.timing.refusedMs * (1 + this.#world.random()), () => {
            const left = new Set(this.#left);
            this.#isSlowed = false;
            this.#left = [];
            for (const [waiting, isAsked] of [...this.#joined]) {
                if (!isAsked) continue;
                this.#joined.delete(waiting);
                this.join(waiting);
            }
            for (const gone of left) if (!this.#joined.has(gone)) this.leave(gone, ASKED);
        });
    }

    /** Asks when it is quiet, and gives up when nothing comes although it was asked. */
    #guard(): void {
        const { openMs, quietMs, muteMs } = this.#world.timing;
        const due = watch(this.#dog, { quietMs, muteMs: this.#isOpen ? muteMs : openMs }, this.#world.now());
        switch (due.kind) {
            case "mute":
                return this.#end({ kind: "lost", loss: { mute: true } });
            case "ask":
                this.#say({ type: "ping" });
                this.#dog = { ...this.#dog, askedAt: this.#world.now() };
                return this.#guard();
            case "wait":
                return this.#later(due.at - this.#world.now(), () => this.#guard());
        }
    }

    #later(ms: number, then: () => void): void {
        const stop = this.#world.after(ms, () => {
            this.#timers.delete(stop);
            then();
        });
        this.#timers.add(stop);
    }

    #say(message: ClientMessage): void {
        try {
            this.#socket?.send(JSON.stringify(message));
        } catch {
            // Closing; `onclose` says so.
        }
    }

    #lose(error: RushesError): void {
        this.#end({ kind: "lost", loss: {}, error });
    }

    #end(ending: Ending): void {
        if (this.#isOver) return;
        this.close();
        this.#outlet.ended(ending);
    }
}

function whose(id: string): { readonly generationId: string } | { readonly mine: true } {
    return id === ALL_OF_MINE ? { mine: true } : { generationId: id };
}
