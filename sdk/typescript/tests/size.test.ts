// What a page has to load, minified and compressed as a bundler and a server do.

import { readFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { describe, expect, it } from "vitest";

const folder = new URL("../src/", import.meta.url).pathname;

/** Bytes of an entry with all it needs; without the modules that it loads later. */
async function sizeOf(entry: string, later: string[] = []): Promise<number> {
    const options = { bundle: true, minify: true, format: "esm", target: "es2022", write: false } as const;
    const { outputFiles } = await build({ ...options, entryPoints: [folder + entry], external: later });
    return gzipSync(outputFiles[0]?.contents as Uint8Array, { level: 9 }).length;
}

describe("the size, compressed", () => {
    it("of the core is at most 8 KiB, and of the ways over HTTP, loaded behind it, at most 3 KiB", async () => {
        const now = await sizeOf("index.ts", ["./fallback.ts"]);
        const later = (await sizeOf("index.ts")) - now;
        console.info(`core ${now} bytes, fallback ${later} bytes`);
        expect(now).toBeGreaterThan(4_000);
        expect(now).toBeLessThanOrEqual(8 * 1024);
        expect(later).toBeGreaterThan(1_000);
        expect(later).toBeLessThanOrEqual(3 * 1024);
    });
    it("of the player is at most 6 KiB", async () => {
        const now = await sizeOf("player/index.ts");
        console.info(`player ${now} bytes`);
        expect(now).toBeGreaterThan(1_000);
        expect(now).toBeLessThanOrEqual(6 * 1024);
    });
    it("of the list of one's own, loaded beside the core, is at most 2 KiB", async () => {
        const alone = await sizeOf("mine.ts");
        console.info(`mine ${alone} bytes`);
        expect(alone).toBeGreaterThan(500);
        expect(alone).toBeLessThanOrEqual(2 * 1024);
    });
    it("comes without any dependency", async () => {
        const { dependencies, peerDependencies } = JSON.parse(await readFile(new URL("../package.json", import.meta.url), "utf8")) as Record<string, unknown>;
        expect([dependencies, peerDependencies]).toEqual([undefined, undefined]);
    });
});
