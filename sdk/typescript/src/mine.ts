// One's own generations as a value that changes: what a page of tiles subscribes to. An entry of its own,
// `@rushes/client/mine`, on the connection that all stores of a client share.
//
// The list is read over HTTP, newest first; what is new and what changes comes live. The server tells nobody who is not
// watching it that a finished generation was deleted, so the list is read again after each return and once a minute.

import type { Rushes } from "./client.ts";
import type { Member } from "./connection.ts";
import { RushesError } from "./errors.ts";
import { isTerminal, type GenerationEvent } from "./event.ts";
import type { Generation } from "./generation.ts";
import type { Effect, Input, Phase } from "./history.ts";
import { ALL_OF_MINE, type Wanted } from "./transport.ts";

/** 24: a screen of tiles. */
const PAGE = 24;
/** The most one page of the server holds. */
const PAGE_MAX = 100;
/** A minute: how long a deletion elsewhere may stay on the screen. */
const REFRESH_MS = 60_000;
/** 10 s where nothing tells of changes. */
const ALONE_MS = 10_000;
/** 5 s after a list that could not be read: the calls behind it have tried for longer already. */
const AGAIN_MS = 5_000;
/** 4 questions at a time, of the six connections a browser has to a host; one list answers more than these. */
const ASKED_MAX = 4;
/** 512: what the server tells one connection of. */
const BELOW_MAX = 512;

/** The same object until something changes. */
export interface MineSnapshot {
    /** Newest first. */
    readonly generations: readonly Generation[];
    /** `loading` until the list was read and what changes comes live, `live` then, `refused` when a token would be needed. */
    readonly phase: "loading" | "live" | "refused";
    /** There are older ones: `more()`. */
    readonly hasMore: boolean;
    /** Why the list could not be read, where that is so. */
    readonly error: RushesError | null;
}

export interface MineOptions {
    /** How many to begin with, and to add with each `more()`; 24 unless said otherwise. */
    readonly pageSize?: number;
}

export class Mine {
    readonly #rushes: Rushes;
    readonly #pageSize: number;
    readonly #member: Member;
    readonly #listeners = new Set<() => void>();
    /** What was heard of a generation that is being asked for, so that it is asked for once. */
    readonly #asked = new Set<string>();
    /** Older than all that are shown and not ended yet: nobody asks for them when they are heard of again. */
    readonly #below = new Set<string>();
    #snapshot: MineSnapshot = { generations: [], phase: "loading", hasMore: false, error: null };
    #phase: Phase = "joining";
    #cursor: string | undefined;
    #wanted = 0;
    #isRead = false;
    #reading: Promise<void> | null = null;
    #readAgain = false;
    #timer: ReturnType<typeof setTimeout> | undefined;

    constructor(rushes: Rushes, options: MineOptions = {}) {
        this.#rushes = rushes;
        this.#pageSize = Math.max(1, Math.floor(options.pageSize ?? PAGE));
        this.#wanted = this.#pageSize;
        const mine = this;
        this.#member = {
            id: ALL_OF_MINE,
            get wanted(): Wanted {
                return { after: null, cursor: mine.#cursor, delivery: "latest", frames: null, paused: false };
            },
            getSnapshot: () => ({ phase: mine.#phase }),
            hear: (input, id) => mine.#hear(input, id),
            see: () => {},
        };
    }

    /** Calls back after each change, until the returned function is called. Connects while somebody listens. */
    readonly subscribe = (listener: () => void): (() => void) => {
        const own = () => listener();
        this.#listeners.add(own);
        if (this.#listeners.size === 1) {
            this.#begin();
            void this.refresh();
        }
        return () => {
            if (!this.#listeners.delete(own) || this.#listeners.size > 0) return;
            clearTimeout(this.#timer);
            this.#cursor = undefined;
            this.#rushes.connection.remove(this.#member);
        };
    };

    readonly getSnapshot = (): MineSnapshot => this.#snapshot;

    /** Reads the list anew; what is shown stays until it is there. */
    refresh(): Promise<void> {
        if (this.#reading !== null) {
            this.#readAgain = true;
            return this.#reading;
        }
        this.#reading = this.#read().finally(() => {
            this.#reading = null;
            const again = this.#readAgain;
            this.#readAgain = false;
            if (again) void this.refresh();
        });
        return this.#reading;
    }

    /** Adds older ones. */
    more(): Promise<void> {
        if (!this.#snapshot.hasMore) return Promise.resolve();
        this.#wanted = this.#snapshot.generations.length + this.#pageSize;
        return this.refresh();
    }

    /** Deletes one that has ended; it leaves the list at once. */
    async delete(id: string): Promise<void> {
        await this.#rushes.delete(id);
        this.#drop(id);
    }

    /** Whatever was refused before: somebody wants it again. A client that is closed refuses it at once. */
    #begin(): void {
        this.#phase = "joining";
        if (this.#snapshot.phase === "refused") this.#tell({ phase: "loading", error: null });
        this.#rushes.connection.add(this.#member);
    }

    async #read(): Promise<void> {
        clearTimeout(this.#timer);
        let againMs = this.#phase === "refused" ? ALONE_MS : REFRESH_MS;
        try {
            const read: Generation[] = [];
            let cursor: string | undefined;
            do {
                const limit = Math.min(PAGE_MAX, this.#wanted - read.length);
                const page = await this.#rushes.list({ limit, ...(cursor !== undefined && { cursor }) });
                read.push(...page.generations);
                cursor = page.nextCursor;
            } while (cursor !== undefined && read.length < this.#wanted);
            this.#take(read, cursor !== undefined);
        } catch (cause) {
            const error = cause instanceof RushesError ? cause : new RushesError("bad_answer", "the list could not be read", true, { cause });
            const phase = error.retryable ? this.#snapshot.phase : "refused";
            againMs = AGAIN_MS;
            if (phase === "refused") this.#rushes.connection.remove(this.#member);
            this.#tell({ error, phase });
        }
        if (this.#listeners.size > 0 && this.#snapshot.phase !== "refused") this.#timer = setTimeout(() => void this.refresh(), againMs);
    }

    /** What was heard while the list was read is newer than the list. */
    #take(read: readonly Generation[], hasMore: boolean): void {
        const known = new Map(this.#snapshot.generations.map((one) => [one.id, one]));
        const generations = read.map((one) => {
            const before = known.get(one.id);
            return before !== undefined && before.status.sequence > one.status.sequence ? before : one;
        });
        // Submitted after the first page was read: above everything that was.
        const ids = new Set(read.map(({ id }) => id));
        const newest = read[0]?.createdAt ?? 0;
        const fresh = [...known.values()].filter((one) => !ids.has(one.id) && one.createdAt > newest && !isTerminal(one.state));
        this.#isRead = true;
        this.#tell({ generations: sorted([...fresh, ...generations]), hasMore, error: null });
        if (this.#snapshot.phase === "refused" && this.#listeners.size > 0) this.#begin();
        this.#look();
    }

    #hear(input: Input, id: string): Effect {
        switch (input.kind) {
            case "event":
                // A stream of all has one place for all of them.
                if (id === ALL_OF_MINE && input.position !== undefined) this.#cursor = input.position;
                this.#change(input.event, id === ALL_OF_MINE ? undefined : input.position);
                break;
            case "gone":
            case "refused":
                if (id === ALL_OF_MINE) return this.#refused(input.error);
                this.#drop(id);
                break;
            case "subscribed":
                if (id !== ALL_OF_MINE) break;
                if (input.position !== undefined) this.#cursor = input.position;
                // What changed while nobody told us. (Each answer to a long-poll says this again.)
                if (this.#phase === "joining") void this.refresh();
                this.#phase = "live";
                break;
            case "disconnected":
                if (id === ALL_OF_MINE) this.#phase = "joining";
                break;
            case "hint":
            case "done":
                break;
        }
        this.#look();
        return "none";
    }

    #refused(error: RushesError): Effect {
        const hadPlace = this.#cursor !== undefined;
        this.#cursor = undefined;
        if (error.code === "invalid_position" && hadPlace) return "resume";
        // Closed; or too many for one stream, and then the list alone has to do.
        this.#phase = "refused";
        if (error.code === "closed") this.#tell({ phase: "refused", error });
        return "none";
    }

    #look(): void {
        const { phase } = this.#snapshot;
        const now = this.#isRead && this.#phase === "live" ? "live" : phase === "live" ? "loading" : phase;
        if (now !== phase && phase !== "refused") this.#tell({ phase: now });
    }

    #change(event: GenerationEvent, position: string | undefined): void {
        const id = event.generationId;
        const known = this.#snapshot.generations.find((one) => one.id === id);
        if (known === undefined) {
            if (!this.#below.has(id)) void this.#ask(id);
            else if (isTerminal(event.state)) this.#below.delete(id);
            return;
        }
        if (event.sequence <= known.status.sequence) return;
        const { queuePosition: _, ...rest } = known;
        const next = { ...(event.state === "queued" ? known : rest), status: event, state: event.state, updatedAt: event.timestamp };
        this.#replace(position === undefined ? next : { ...next, position });
        // Its files are not in the event.
        if (isTerminal(event.state)) void this.#ask(id);
    }

    async #ask(id: string): Promise<void> {
        // The list that is read as soon as it is live will say so too.
        if (this.#phase === "joining" || this.#asked.has(id)) return;
        if (this.#asked.size >= ASKED_MAX) return this.refresh();
        this.#asked.add(id);
        try {
            const found = await this.#rushes.get(id);
            const { generations, hasMore } = this.#snapshot;
            const isBelow = hasMore && found.createdAt < (generations.at(-1)?.createdAt ?? 0);
            if (isBelow) return this.#skip(found);
            const known = generations.find((one) => one.id === id);
            if ((known?.status.sequence ?? 0) <= found.status.sequence) this.#replace(found);
        } catch (error) {
            // Deleted between its last event and this; after anything else the next reading of the list brings it.
            if (error instanceof RushesError && error.code === "not_found") this.#drop(id);
        } finally {
            this.#asked.delete(id);
        }
    }

    /** From now on, until it ends. */
    #skip({ id, state }: Generation): void {
        if (this.#below.size >= BELOW_MAX) this.#below.clear();
        if (!isTerminal(state)) this.#below.add(id);
    }

    #replace(next: Generation): void {
        const others = this.#snapshot.generations.filter((one) => one.id !== next.id);
        this.#tell({ generations: sorted([...others, next]) });
    }

    #drop(id: string): void {
        const generations = this.#snapshot.generations.filter((one) => one.id !== id);
        if (generations.length < this.#snapshot.generations.length) this.#tell({ generations });
    }

    #tell(changes: Partial<MineSnapshot>): void {
        this.#snapshot = { ...this.#snapshot, ...changes };
        for (const listener of [...this.#listeners]) listener();
    }
}

/** Newest first; ids made in the same millisecond keep an order. */
function sorted(generations: readonly Generation[]): readonly Generation[] {
    return [...generations].sort((a, b) => b.createdAt - a.createdAt || (a.id < b.id ? 1 : -1));
}
