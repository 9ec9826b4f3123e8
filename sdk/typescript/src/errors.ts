// The one error this package throws, and how an answer of the server becomes one.

/** Codes the server sends (the closed list of `spec/errors.md`). */
export type ServerCode =
    | "invalid_request" | "invalid_input" | "unsupported" | "unknown_pipeline" | "invalid_position" | "unauthorized"
    | "forbidden" | "origin_refused" | "not_found" | "method_not_allowed" | "idempotency_conflict" | "state_conflict"
    | "lease_required" | "lease_lost" | "pipeline_conflict" | "hash_mismatch" | "artifact_missing" | "too_large"
    | "range_not_satisfiable" | "rate_limited" | "queue_full" | "unavailable" | "storage_full" | "internal";

/**
 * What went wrong. Beside the server's codes: `unreachable` (no answer), `bad_answer` (an answer that is not of this
 * protocol, from a proxy for example), `token` (`getToken` threw), `too_many` (generations watched at once) and `closed` (this
 * client was closed). A later server may
 * have codes that are not listed here; they come as they are.
 */
export type Code = ServerCode | "unreachable" | "bad_answer" | "token" | "too_many" | "closed" | (string & {});

/** Facts beside the code. */
export interface ErrorFacts {
    /** What to do about it, in a sentence. */
    readonly hint?: string;
    /** Facts for programs. */
    readonly details?: unknown;
    /** The HTTP status, where there was one. */
    readonly status?: number;
    /** Milliseconds the server asked to wait before the next try. */
    readonly retryAfterMs?: number;
    /** What it came from. */
    readonly cause?: unknown;
}

/** Every error of this package. An aborted call rejects with its signal's reason instead. */
export class RushesError extends Error {
    override readonly name = "RushesError";
    /** Never changes its meaning; the message may. */
    declare readonly code: Code;
    /** May the same call succeed later, unchanged? */
    declare readonly retryable: boolean;
    declare readonly hint?: string;
    declare readonly details?: unknown;
    declare readonly status?: number;
    declare readonly retryAfterMs?: number;

    constructor(code: Code, message: string, retryable: boolean, facts: ErrorFacts = {}) {
        super(message);
        Object.assign(this, facts, { code, retryable });
    }
}

/** What the server says of a failure, in an answer, on a socket or in a stream. */
export interface Told {
    readonly code?: unknown;
    readonly message?: unknown;
    /** The message, on sockets and in streams. */
    readonly error?: unknown;
    readonly hint?: unknown;
    readonly details?: unknown;
    readonly retryable?: unknown;
}

export function errorOf(told: Told, facts: ErrorFacts = {}): RushesError {
    return new RushesError(String(told.code), String(told.message ?? told.error), told.retryable === true, facts);
}

/** The error an HTTP answer means. `body` is whatever JSON it held; proxies in between answer with anything. */
export function errorOfAnswer(status: number, body: unknown, retryAfter: string | null): RushesError {
    const told = (body as { error?: Told } | null)?.error;
    const retryAfterMs = Number(retryAfter ?? NaN) * 1_000;
    const facts = { status, ...(retryAfterMs >= 0 && { retryAfterMs }) };
    if (typeof told?.code === "string") {
        const { hint, details } = told;
        return errorOf(told, { ...facts, ...(typeof hint === "string" && { hint }), ...(details !== undefined && { details }) });
    }
    const code = status === 401 ? "unauthorized" : "bad_answer";
    return new RushesError(code, `the server answered ${status}`, status >= 500 || status === 429 || status === 408, facts);
}
