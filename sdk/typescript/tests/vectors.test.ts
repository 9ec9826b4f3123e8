// The vectors that all SDKs run.

import { describe, expect, it } from "vitest";
import { errorOfAnswer } from "../src/errors.ts";
import { decodeEvent, decodeHint, isGenerationId } from "../src/event.ts";
import { decodeFrame } from "../src/frame.ts";
import { decodeServerMessage } from "../src/live.ts";
import { readPosition } from "../src/position.ts";
import { bytesOf, vectors } from "./support.ts";

interface Case {
    readonly name: string;
    readonly wire: Record<string, unknown>;
    readonly canonical: Record<string, unknown>;
}
interface Cases {
    readonly cases: Case[];
    readonly bad: Case[];
    readonly unknown: Case[];
}

describe("events", () => {
    const { events, hints } = vectors<{ events: Cases; hints: Cases }>("events");
    it.each(events.cases)("reads $name", ({ wire, canonical }) => expect(decodeEvent(wire)).toMatchObject(canonical));
    it.each(events.bad)("refuses $name", ({ wire }) => expect(decodeEvent(wire)).toBeNull());
    it.each(events.unknown)("keeps an event of $name as unknown", ({ wire }) => expect(decodeEvent(wire)).toEqual({ ...wire, type: "unknown" }));
    it.each(hints.cases)("reads the hint $name", ({ wire, canonical }) => expect(decodeHint(wire)).toMatchObject(canonical));
    it.each(hints.bad)("refuses a hint with $name", ({ wire }) => expect(decodeHint(wire)).toBeNull());
});

describe("messages of the live socket", () => {
    const { cases, bad, unknown } = vectors<Cases>("live-server-messages");
    it.each(cases)("reads $name", ({ wire, canonical }) => {
        const message = decodeServerMessage(JSON.stringify(wire)) as unknown as Record<string, unknown>;
        const { type, data, ...rest } = canonical;
        if (type === "status_update") {
            expect(message.kind).toBe((data as { ephemeral?: true }).ephemeral ? "hint" : "event");
            expect(message.event ?? message.hint).toMatchObject(data as object);
            expect(message.position).toBe(rest.position);
            expect(message.previous).toBe(rest.previous);
            expect(message.snapshot ?? false).toBe(rest.recovery === "snapshot");
        } else if (type === "error") {
            expect(message).toMatchObject({ kind: "error", generationId: rest.generationId });
            expect(message.error).toMatchObject({ code: rest.code, message: rest.error, retryable: rest.retryable });
        } else {
            expect(message).toMatchObject({ kind: type, ...rest });
        }
    });
    it.each(bad)("skips $name", ({ wire }) => expect(decodeServerMessage(JSON.stringify(wire))).toEqual({ kind: "unknown" }));
    it.each(unknown)("survives $name", ({ wire }) => {
        const message = decodeServerMessage(JSON.stringify(wire));
        // An error of a later server still ends what it refuses, under its own code.
        if (wire.type === "error") expect(message).toMatchObject({ kind: "error", error: { code: wire.code } });
        else expect(message).toEqual({ kind: "unknown" });
    });
    it.each(["", "{", "null", "[]", "7", '"x"'])("skips %j", (text) => expect(decodeServerMessage(text)).toEqual({ kind: "unknown" }));
});

describe("frames", () => {
    interface FrameCase {
        readonly name: string;
        readonly hex: string;
        readonly header: { readonly generation: string | null; readonly ptsMicros: string } & Record<string, unknown>;
        readonly picture: string;
        readonly error: string;
        readonly zerosTo?: number;
    }
    const { cases, bad } = vectors<{ cases: FrameCase[]; bad: FrameCase[] }>("frames");
    // A relay fills the id in, so a client never gets a frame without one.
    const named = cases.filter(({ header }) => header.generation !== null);
    it.each(named)("reads $name", ({ hex, header, picture }) => {
        const frame = decodeFrame(bytesOf(hex).buffer);
        if (typeof frame === "string") throw new Error(frame);
        const { generation, ptsMicros, ...rest } = header;
        expect(frame.header).toEqual({ ...rest, generationId: generation, ptsMicros: BigInt(ptsMicros) });
        expect(frame.picture).toEqual(bytesOf(picture));
    });
    it.each(bad)("refuses $name", ({ hex, error, zerosTo }) => {
        const bytes = bytesOf(hex);
        const padded = new Uint8Array(zerosTo ?? bytes.length);
        padded.set(bytes);
        expect(decodeFrame(padded.buffer)).toBe(error);
    });
    it("refuses a frame without an id", () => {
        const from = cases.find(({ header }) => header.generation === null) as FrameCase;
        expect(decodeFrame(bytesOf(from.hex).buffer)).toBe("id");
    });
});

describe("positions", () => {
    const { cases, bad } = vectors<{ cases: { text: string; canonical: string }[]; bad: string[] }>("positions");
    it.each(cases)("takes $text", ({ text, canonical }) => expect(readPosition(text)).toBe(canonical));
    it.each(bad)("refuses %j", (text) => expect(() => readPosition(text)).toThrow(expect.objectContaining({ code: "invalid_position" })));
});

describe("ids of generations", () => {
    const { generation } = vectors<{ generation: { good: string[]; bad: string[] } }>("ids");
    it.each(generation.good)("takes %s", (text) => expect(isGenerationId(text)).toBe(true));
    it.each(generation.bad)("refuses %j", (text) => expect(isGenerationId(text)).toBe(false));
});

describe("errors", () => {
    const { cases } = vectors<{ cases: { code: string; status: number; retryable: boolean }[] }>("errors");
    it.each(cases)("$code", ({ code, status, retryable }) => {
        const body = { error: { code, message: "why", hint: "what to do", retryable } };
        expect(errorOfAnswer(status, body, retryable ? "2" : null)).toMatchObject({
            code, status, retryable, message: "why", hint: "what to do", ...(retryable && { retryAfterMs: 2_000 }),
        });
    });
    it("makes something of a proxy's answer", () => {
        expect(errorOfAnswer(502, null, null)).toMatchObject({ code: "bad_answer", status: 502, retryable: true });
        expect(errorOfAnswer(404, "<html>", null)).toMatchObject({ code: "bad_answer", status: 404, retryable: false });
        expect(errorOfAnswer(503, { error: "busy" }, "soon")).toMatchObject({ code: "bad_answer", retryable: true });
    });
});
