// The binary frame: a header, an id and a picture (section 6 of the protocol). Reading only; workers write them.

import { isGenerationId } from "./event.ts";

const MAGIC = 0x4652; // "RF", little-endian.
const FORMATS = ["webp", "jpeg", "png", "avif", "h264"] as const;
const FIXED_BYTES = 37;
/** 256 KiB: the largest message a relay passes on. */
const FRAME_BYTES_MAX = 262_144;

/** How a picture is encoded. */
export type FrameFormat = (typeof FORMATS)[number];

/** What stands before the picture. */
export interface FrameHeader {
    readonly generationId: string;
    readonly format: FrameFormat;
    /** 1 last of its revision, 2 last of the generation, 4 key frame; others are of a later version. */
    readonly flags: number;
    /** Grows with every grant to a worker; pictures of a lower one are out of date. */
    readonly fence: number;
    /** Place in the film, from 0. */
    readonly index: number;
    /** Pictures in the film, 0 when unknown. */
    readonly total: number;
    /** How far it is refined, from 0. */
    readonly revision: number;
    /** Microseconds of film time. */
    readonly ptsMicros: bigint;
    readonly width: number;
    readonly height: number;
}

/** A preview picture. */
export interface Frame {
    readonly header: FrameHeader;
    readonly picture: Uint8Array<ArrayBuffer>;
}

/** Why a message is no frame. */
export type FrameProblem = "truncated" | "magic" | "version" | "format" | "id" | "picture" | "too_large";

/** A frame, or why it is none. The picture is a view into `bytes`, not a copy. */
export function decodeFrame(bytes: ArrayBuffer): Frame | FrameProblem {
    if (bytes.byteLength > FRAME_BYTES_MAX) return "too_large";
    if (bytes.byteLength < FIXED_BYTES) return "truncated";
    const view = new DataView(bytes);
    if (view.getUint16(0, true) !== MAGIC) return "magic";
    if (view.getUint8(2) !== 1) return "version";
    const format = FORMATS[view.getUint8(3) - 1];
    if (format === undefined) return "format";
    const start = view.getUint16(4, true);
    const idEnd = FIXED_BYTES + view.getUint8(36);
    if (start < idEnd || start > bytes.byteLength) return "truncated";
    const generationId = String.fromCharCode(...new Uint8Array(bytes, FIXED_BYTES, idEnd - FIXED_BYTES));
    if (!isGenerationId(generationId)) return "id";
    const picture = new Uint8Array(bytes, start);
    if (!beginsAs(format, picture)) return "picture";
    const header = {
        generationId,
        format,
        flags: view.getUint16(6, true),
        fence: view.getUint32(8, true),
        index: view.getUint32(12, true),
        total: view.getUint32(16, true),
        revision: view.getUint32(20, true),
        ptsMicros: view.getBigUint64(24, true),
        width: view.getUint16(32, true),
        height: view.getUint16(34, true),
    };
    return { header, picture };
}

/** Whoever draws a picture hands it to a decoder of its format; anything else never gets that far. */
function beginsAs(format: FrameFormat, picture: Uint8Array): boolean {
    const at = (offset: number, text: string) =>
        [...text].every((character, index) => picture[offset + index] === character.charCodeAt(0));
    switch (format) {
        case "webp":
            return at(0, "RIFF") && at(8, "WEBP");
        case "jpeg":
            return at(0, "\xff\xd8\xff");
        case "png":
            return at(0, "\x89PNG\r\n\x1a\n");
        case "avif":
            return at(4, "ftyp");
        case "h264":
            return at(0, "\0\0\x01") || at(0, "\0\0\0\x01");
    }
}
