// Positions are opaque: kept and given back, never taken apart. Only what a caller kept is looked at, so that a mistake is
// told at once and not by the server later.

import { RushesError } from "./errors.ts";

const SEQUENCE_MAX = 2n ** 64n - 1n;

/**
 * A position as `GenerationState.position` holds it, in the one form the server gives it, so that two can be told apart.
 * Throws `invalid_position`.
 */
export function readPosition(text: string | undefined): string | undefined {
    if (text === undefined) return undefined;
    const [, epoch, digits] = /^([a-z0-9]{1,16}):(\d+)$/.exec(text) ?? [];
    if (digits === undefined || text.endsWith("\n") || BigInt(digits) > SEQUENCE_MAX) {
        throw new RushesError("invalid_position", `\`${text}\` is no position`, false);
    }
    return `${epoch}:${BigInt(digits)}`;
}
