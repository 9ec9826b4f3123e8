// The way to the server that all stores of a client share: which transport is in use, when it is changed or tried again,
// and what of this a screen can show. The rules are in `ladder.ts` and `history.ts`; here they meet sockets and timers.

import type { Ending } from "./ending.ts";
import { RushesError } from "./errors.ts";
import type { Http } from "./http.ts";
import type { Frame } from "./frame.ts";
import type { Effect, Input, Phase } from "./history.ts";
import { beginLadder, climb, climbed, lost, opened, rungOf, type Ladder, type Loss, type Rung } from "./ladder.ts";
import { SocketTransport } from "./socket.ts";
import type { Tokens } from "./tokens.ts";
import { ALL_OF_MINE, type Outlet, type Transport, type Wanted } from "./transport.ts";
import type { World } from "./world.ts";

type Fallback = typeof import("./fallback.ts");

/** 3 vain tries: what is shown as `offline`, though trying goes on. */
const OFFLINE_ATTEMPTS = 3;
/** 512: what the server lets one socket subscribe to. */
const MEMBERS_MAX = 512;

/** Who is connected: a store, or the list of one's own. */
export interface Member {
    readonly id: string;
    readonly wanted: Wanted;
    getSnapshot(): { readonly phase: Phase };
    hear(input: Input, id: string): Effect;
    see(frame: Frame): void;
}

/**
 * `live`: everything watched is up to date. `catching_up`: connected, and what was missed is on its way. `polling`: connected
 * by long-poll. `reconnecting`: coming back. `offline`: it takes longer, or needs a token, or nothing is watched.
 */
export type ConnectionState = "live" | "catching_up" | "reconnecting" | "polling" | "offline";

/** The same object until something changes. */
export interface ConnectionSnapshot {
    readonly state: ConnectionState;
    readonly transport: Rung;
    /** When the next try begins, in milliseconds since 1970; null when none is planned. */
    readonly retryAt: number | null;
    /** Why it is not connected, where that is known. */
    readonly error: RushesError | null;
}

export class Connection {
    readonly #http: Http;
    readonly #tokens: Tokens;
    readonly #world: World;
    readonly #stores = new Map<string, Member>();
    readonly #listeners = new Set<() => void>();
    #ladder: Ladder;
    #fallback: Fallback | null = null;
    #transport: Transport | null = null;
    #probe: Transport | null = null;
    #climbingTo = 0;
    #stopRetry: (() => void) | null = null;
    #stopClimb = () => {};
    #stopLinger = () => {};
    #retryAt: number | null = null;
    #error: RushesError | null = null;
    /** Only a caller can make it go on: no token, or closed. */
    #isStopped = false;
    #snapshot: ConnectionSnapshot;

    /** @internal */
    constructor(http: Http, tokens: Tokens, world: World, rungs: readonly Rung[]) {
        this.#http = http;
        this.#tokens = tokens;
        this.#world = world;
        this.#ladder = beginLadder(usable(rungs, world));
        this.#snapshot = { state: "offline", transport: rungOf(this.#ladder), retryAt: null, error: null };
    }

    readonly subscribe = (listener: () => void): (() => void) => {
        const own = () => listener();
        this.#listeners.add(own);
        return () => void this.#listeners.delete(own);
    };

    readonly getSnapshot = (): ConnectionSnapshot => this.#snapshot;

    /** Tries now: the network is back, the page is shown again, there is a new token. Does nothing while connected. */
    retry(): void {
        if (this.#error?.code === "closed") return;
        if (this.#isStopped) this.#tokens.forgive();
        this.#isStopped = false;
        if (this.#transport === null) this.#begin();
    }

    /** Cuts the connection, as a network does; it comes back by itself. For trying things out. */
    cut(): void {
        if (this.#transport !== null) this.#lose({}, null);
    }

    /** Uses these transports only, best first, beginning now. */
    use(rungs: readonly Rung[]): void {
        this.#drop();
        this.#ladder = beginLadder(usable(rungs, this.#world));
        if (!this.#isStopped) this.#begin();
        this.#tell();
    }

    /** @internal */
    close(): void {
        this.#stop(new RushesError("closed", "this client was closed", false));
        this.#tellAll({ kind: "refused", error: this.#error as RushesError });
    }

    /** @internal */
    add(store: Member): void {
        let error = this.#error;
        if (this.#stores.size >= MEMBERS_MAX) error = new RushesError("too_many", "too many", true);
        else if (error?.code !== "closed") error = null;
        if (error) return void store.hear({ kind: "refused", error }, store.id);
        this.#stopLinger();
        this.#stores.set(store.id, store);
        if (this.#transport !== null) this.#each((transport) => transport.join(store.id));
        else if (this.#stopRetry === null && !this.#isStopped) this.#begin();
        this.#tell();
    }

    /** @internal */
    remove(store: Member): void {
        if (this.#stores.get(store.id) !== store) return;
        this.#stores.delete(store.id);
        this.#each((transport) => transport.leave(store.id));
        store.hear({ kind: "disconnected" }, store.id);
        if (this.#stores.size === 0) {
            this.#stopLinger();
            this.#stopLinger = this.#world.after(this.#world.timing.lingerMs, () => {
                if (this.#stores.size > 0) return;
                this.#drop();
                this.#tell();
            });
        }
        this.#tell();
    }

    /** @internal */
    wishChanged(store: Member): void {
        this.#each((transport) => transport.join(store.id));
    }

    /** @internal */
    creditChanged(store: Member): void {
        this.#each((transport) => transport.credit(store.id));
    }

    #begin(): void {
        this.#drop();
        if (this.#stores.size === 0) return;
        // Asked for at the first connection: it is there when it is needed, which is when the network is bad.
        if (this.#fallback === null) {
            const needsIt = rungOf(this.#ladder) !== "websocket";
            let isWanted = needsIt;
            if (needsIt) this.#stopRetry = () => (isWanted = false);
            import("./fallback.ts").then(
                (loaded) => {
                    this.#fallback = loaded;
                    if (isWanted) this.#begin();
                },
                () => isWanted && this.#lose({ unreachable: true }, null),
            );
            if (needsIt) return this.#tell();
        }
        this.#transport = this.#open(rungOf(this.#ladder));
        this.#tell();
    }

    #open(rung: Rung): Transport {
        // Whatever a transport says that is not in use any more is of the past.
        const isMine = () => transport === this.#transport || transport === this.#probe;
        const outlet: Outlet = {
            wanted: (id) => this.#stores.get(id)?.wanted ?? null,
            opened: () => isMine() && this.#opened(transport),
            heard: (id, input, onlyForList) => !isMine() || this.#heard(id, input, onlyForList),
            frame: (frame) => isMine() && this.#stores.get(frame.header.generationId)?.see(frame),
            ended: (ending) => isMine() && this.#ended(transport, ending),
        };
        const ids = [...this.#stores.keys()];
        const transport: Transport =
            rung === "websocket"
                ? new SocketTransport(this.#http.base, ids, this.#tokens, this.#world, outlet)
                : (this.#fallback as Fallback).openFallback(rung, ids, this.#http, this.#tokens, this.#world, outlet);
        return transport;
    }

    #opened(transport: Transport): void {
        const now = this.#world.now();
        if (transport === this.#probe) {
            this.#transport?.close();
            this.#tellAll({ kind: "disconnected" });
            this.#transport = transport;
            this.#probe = null;
            this.#ladder = climbed(this.#ladder, this.#climbingTo, now);
            this.#planClimb();
        } else if (this.#ladder.openAt === null) {
            this.#ladder = opened(this.#ladder, now);
            this.#planClimb();
        }
        this.#error = null;
        this.#tell();
    }

    #heard(id: string, input: Input, onlyForList?: boolean): boolean {
        const effect = (!onlyForList && this.#stores.get(id)?.hear(input, id)) || "none";
        if (id !== ALL_OF_MINE) this.#stores.get(ALL_OF_MINE)?.hear(input, id);
        if (input.kind === "subscribed" || input.kind === "event") this.#tell();
        if (effect === "resume") this.#each((transport) => transport.join(id));
        if (effect === "reconnect") this.#lose({}, null);
        return effect === "none";
    }

    #ended(transport: Transport, ending: Ending): void {
        if (transport === this.#probe) {
            this.#probe = null;
            this.#ladder = climbed(this.#ladder, null, this.#world.now());
            return this.#planClimb();
        }
        if (ending.kind === "lost") return this.#lose(ending.loss, ending.error ?? null);
        // A new token is asked for first; the first time there is no reason to wait after it.
        const waitMs = this.#leave({});
        const again = this.#ladder.attempt > 1;
        let isWanted = true;
        this.#stopRetry = () => (isWanted = false);
        this.#tell();
        this.#tokens.get().then(
            () => isWanted && this.#plan(again ? waitMs : 0),
            (error: RushesError) => isWanted && (error.retryable ? this.#plan(waitMs, error) : this.#stop(error)),
        );
    }

    #lose(loss: Loss, error: RushesError | null): void {
        this.#plan(this.#leave(loss), error);
    }

    /** Lets go of what is open and decides where to try next; answers after how many milliseconds. */
    #leave(loss: Loss): number {
        const next = lost(this.#ladder, loss, this.#world.now(), this.#world.timing, this.#world.random());
        this.#drop();
        this.#ladder = next.ladder;
        return next.waitMs;
    }

    #plan(waitMs: number, error: RushesError | null = null): void {
        this.#stopRetry?.();
        this.#error = error;
        this.#retryAt = this.#world.now() + waitMs;
        this.#stopRetry = this.#world.after(waitMs, () => this.#begin());
        this.#tell();
    }

    #planClimb(): void {
        this.#stopClimb();
        const next = climb(this.#ladder, this.#world.timing.climbMs, this.#world.random());
        if (next === null) return;
        this.#stopClimb = this.#world.after(next.waitMs, () => {
            this.#climbingTo = next.to;
            this.#probe = this.#open(this.#ladder.rungs[next.to] as Rung);
        });
    }

    #stop(error: RushesError): void {
        this.#drop();
        this.#isStopped = true;
        this.#error = error;
        this.#tell();
    }

    #drop(): void {
        this.#stopRetry?.();
        this.#stopRetry = this.#retryAt = null;
        this.#stopClimb();
        this.#each((transport) => transport.close());
        this.#transport = this.#probe = null;
        this.#ladder = { ...this.#ladder, openAt: null };
        this.#tellAll({ kind: "disconnected" });
    }

    #tellAll(input: Input): void {
        for (const store of [...this.#stores.values()]) store.hear(input, store.id);
    }

    #each(what: (transport: Transport) => void): void {
        if (this.#transport !== null) what(this.#transport);
        if (this.#probe !== null) what(this.#probe);
    }

    #tell(): void {
        const [before, rung] = [this.#snapshot, rungOf(this.#ladder)];
        const after = { state: this.#state(rung), transport: rung, retryAt: this.#retryAt, error: this.#error };
        if ((Object.keys(after) as (keyof ConnectionSnapshot)[]).every((key) => after[key] === before[key])) return;
        this.#snapshot = after;
        for (const listener of [...this.#listeners]) listener();
    }

    #state(rung: Rung): ConnectionState {
        if (this.#isStopped || (this.#stores.size === 0 && this.#transport === null)) return "offline";
        if (this.#ladder.openAt === null) return this.#ladder.attempt >= OFFLINE_ATTEMPTS ? "offline" : "reconnecting";
        if (rung === "poll") return "polling";
        const isBehind = [...this.#stores.values()].some((store) => store.getSnapshot().phase === "joining");
        return isBehind ? "catching_up" : "live";
    }
}

function usable(rungs: readonly Rung[], world: World): readonly Rung[] {
    const can = rungs.filter((rung) => rung !== "websocket" || world.WebSocket !== undefined);
    return can.length > 0 ? can : ["sse", "poll"];
}
