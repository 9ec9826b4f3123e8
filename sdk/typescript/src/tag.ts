// The header of a picture that was fetched over HTTP: what its `ETag` says.

import type { FrameFormat, FrameHeader } from "./frame.ts";

/** What the tag of `frames/latest` says of its picture: `"<fence>-<index>-<revision>"`. */
export function headerOfTag(generationId: string, tag: string | null, mediaType: string | null): FrameHeader | null {
    const numbers = /^"(\d+)-(\d+)-(\d+)"$/.exec(tag ?? "");
    const format = /^image\/(webp|jpeg|png|avif)$/.exec(mediaType ?? "")?.[1] as FrameFormat | undefined;
    if (numbers === null || format === undefined) return null;
    const [fence, index, revision] = numbers.slice(1).map(Number) as [number, number, number];
    return { generationId, format, flags: 0, fence, index, total: 0, revision, ptsMicros: 0n, width: 0, height: 0 };
}
