// The examples of the README, as they stand there.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { ScriptedServer } from "./scripted.ts";

const folder = new URL("../", import.meta.url).pathname;
const examples = [...readFileSync(`${folder}README.md`, "utf8").matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code as string);
let server: ScriptedServer;
let place: string;

beforeEach(async () => {
    server = await new ScriptedServer().start();
    place = mkdtempSync(join(tmpdir(), "rushes-readme-"));
});
afterEach(async () => {
    rmSync(place, { recursive: true });
    await server.stop();
});

it("has examples", () => expect(examples).toHaveLength(4));

it.each(examples.map((code, index) => [index + 1, code] as const))("example %i runs to its end", async (_, code) => {
    server.publish("gen_a", 3, 3);
    server.publish("gen_new", 3, 3);
    const { outputFiles } = await build({
        stdin: { contents: code.replace("https://video.example", server.url), loader: "ts", resolveDir: folder },
        alias: { "@rushes/client/mine": `${folder}src/mine.ts`, "@rushes/client": `${folder}src/index.ts` }, bundle: true, format: "esm", write: false,
    });
    const file = join(place, "example.mjs");
    writeFileSync(file, outputFiles[0]?.contents as Uint8Array);
    const said = vi.spyOn(console, "log").mockImplementation(() => {});
    try {
        // Node 20 has no WebSocket; there the examples go by the stream.
        await import(/* @vite-ignore */ pathToFileURL(file).href);
        expect(said).toHaveBeenCalled();
    } finally {
        said.mockRestore();
    }
});
