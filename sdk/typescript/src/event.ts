// Events and hints as they travel, and reading them from the wire. Order and repeats are the business of `history.ts`.

/** Where a generation stands. Nothing follows the last three. */
export type State = "queued" | "running" | "cancelling" | "complete" | "failed" | "cancelled";
/** The first dialect's word for it. */
export type Status =
    | "queued" | "prompt_analysis" | "generating_frames" | "interpolating" | "upscaling" | "encoding" | "complete" | "failed";
/** What happened. `unknown` stands for types of a later server; the event around it is complete all the same. */
export type EventType =
    | "queued" | "stage_started" | "stage_progress" | "stage_completed" | "stage_failed" | "retry_scheduled" | "handed_back"
    | "parked" | "unparked" | "priority_changed" | "log" | "artifact" | "checkpoint" | "cancel_requested"
    | "clean_up_started" | "complete" | "failed" | "cancelled" | "unknown";

const STATES = /^(queued|running|cancelling|complete|failed|cancelled)$/;
const STATUSES = /^(queued|prompt_analysis|generating_frames|interpolating|upscaling|encoding|complete|failed)$/;
const TYPES =
    /^(queued|stage_(started|progress|completed|failed)|retry_scheduled|handed_back|(un)?parked|priority_changed|log|artifact|checkpoint|cancel_requested|clean_up_started|complete|failed|cancelled)$/;

/** Keys with a meaning; workers add their own. */
export interface Metadata {
    readonly currentFrame?: number;
    readonly totalFrames?: number;
    readonly estimatedSecondsRemaining?: number;
    /** Its place in the queue, from 1. */
    readonly queuePosition?: number;
    /** Milliseconds since 1970. */
    readonly retryAt?: number;
    readonly videoUrl?: string;
    readonly thumbnailUrl?: string;
    readonly errorCode?: string;
    readonly errorMessage?: string;
    readonly errorHint?: string;
    readonly retryable?: boolean;
    /** What the submission's `metadata` said. */
    readonly client?: unknown;
    readonly [key: string]: unknown;
}

/** One durable event: a complete picture of what a screen needs. */
export interface GenerationEvent {
    readonly eventId: string;
    readonly generationId: string;
    readonly tenantId: string;
    readonly userId: string;
    readonly causalId: string;
    /** From 1 in its generation, without a hole. */
    readonly sequence: number;
    readonly attempt: number;
    readonly type: EventType;
    readonly state: State;
    readonly stage?: string;
    readonly status: Status;
    /** Per cent of the whole; never falls. */
    readonly progress: number;
    /** For people; may change. */
    readonly message: string;
    readonly metadata?: Metadata;
    /** Milliseconds since 1970. */
    readonly timestamp: number;
}

/** A status between two events that is never stored. Its sequence is that of the last event. */
export interface Hint extends GenerationEvent {
    readonly ephemeral: true;
    readonly tick: number;
}

/** What there is to show. */
export function isTerminal(state: State): boolean {
    return state === "complete" || state === "failed" || state === "cancelled";
}

/** Is it 1 to 128 of the characters an id of a generation has? */
export function isGenerationId(text: unknown): text is string {
    return typeof text === "string" && /^[\w-]{1,128}$/.test(text);
}

/** An event, or null when the wire holds something else. Fields of a later version stay. */
export function decodeEvent(wire: unknown): GenerationEvent | null {
    const event = wire as Record<string, unknown>;
    if (!isGenerationId(event?.generationId)) return null;
    for (const key of ["eventId", "tenantId", "userId", "causalId"]) {
        if (typeof event[key] !== "string" || event[key] === "") return null;
    }
    const sequence = event.sequence ?? 0;
    if (!isCount(sequence) || !isCount(event.attempt) || !isCount(event.timestamp)) return null;
    if (typeof event.progress !== "number" || typeof event.message !== "string" || typeof event.type !== "string") return null;
    if (!STATES.test(event.state as string) || !STATUSES.test(event.status as string)) return null;
    const type = TYPES.test(event.type) ? event.type : "unknown";
    return { ...event, sequence, type } as unknown as GenerationEvent;
}

/** A hint, or null when the wire holds something else. */
export function decodeHint(wire: unknown): Hint | null {
    const hint = decodeEvent(wire) as Hint | null;
    return hint?.ephemeral && isCount(hint.tick) ? hint : null;
}

function isCount(value: unknown): value is number {
    return typeof value === "number" && Number.isInteger(value) && value >= 0;
}
