// Submissions and generations as HTTP carries them. Types only.

import type { GenerationEvent, State } from "./event.ts";

/** A minute's head start, none, or ten minutes behind. */
export type Priority = "interactive" | "standard" | "batch";

/** What is asked for. `prompt` and `params` are the short form of `input`. */
export interface Submission {
    readonly pipeline?: string;
    readonly prompt?: string;
    /** `width`, `height`, `fps`, `seconds`, `seed`, `image`, of the default pipeline. */
    readonly params?: Readonly<Record<string, unknown>>;
    readonly input?: Readonly<Record<string, unknown>>;
    readonly priority?: Priority;
    /** One's own facts; they come back in each event's `metadata.client`. */
    readonly metadata?: Readonly<Record<string, unknown>>;
    /** By when it has to have ended, in milliseconds since 1970; else it fails with `DEADLINE_EXCEEDED`. */
    readonly deadline?: number;
    /** On whose behalf; wants a token of role `service`. */
    readonly owner?: string;
    readonly tenant?: string;
}

/** A kept file. */
export interface ArtifactLink {
    readonly name: string;
    readonly size: number;
    readonly sha256: string;
    /** Signed, valid at least 24 hours. */
    readonly url: string;
}

/** A generation as it stands. */
export interface Generation {
    readonly id: string;
    readonly status: GenerationEvent;
    readonly state: State;
    readonly pipeline: string;
    readonly input: Readonly<Record<string, unknown>>;
    readonly priority: Priority;
    readonly position: string;
    /** Its place in the queue, 1 for the next; absent unless queued. */
    readonly queuePosition?: number;
    /** Seconds, estimated. */
    readonly eta?: number;
    /** By when it has to have ended, in milliseconds since 1970, where that was asked. */
    readonly deadline?: number;
    readonly artifacts?: readonly ArtifactLink[];
    readonly retryOf?: string;
    /** Milliseconds since 1970. */
    readonly createdAt: number;
    readonly updatedAt: number;
}

/** The answer to a submission, sent after it is durable. */
export interface Accepted {
    readonly generation: Generation;
    readonly urls: {
        readonly self: string;
        readonly events: string;
        readonly live: string;
        readonly cancel: string;
        readonly artifacts: string;
    };
    /** Watches this generation for an hour, and nothing else: hand it to a page. */
    readonly liveToken: string;
}

export interface ListQuery {
    readonly state?: State;
    readonly owner?: string;
    readonly limit?: number;
    /** `nextCursor` of the page before. */
    readonly cursor?: string;
}

export interface GenerationPage {
    readonly generations: readonly Generation[];
    /** Absent on the last page. */
    readonly nextCursor?: string;
}
