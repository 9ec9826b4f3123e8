// How the page is built and developed. `npm run dev` speaks to a demo at 127.0.0.1:8080; `STUDIO_SERVER` names another one.

import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

declare const process: { readonly env: Readonly<Record<string, string | undefined>> };

const server = process.env.STUDIO_SERVER ?? "http://127.0.0.1:8080";
// `Host` stays that of the page: a demo answers pages of its own address only.
const proxy = { "/v1": { target: server, ws: true }, "/health": { target: server } };

export default defineConfig({
    plugins: [react()],
    // Paths below the page's own folder work behind any prefix.
    base: "./",
    worker: { format: "es" },
    server: { host: "127.0.0.1", proxy },
    preview: { host: "127.0.0.1", proxy },
    build: {
        target: "es2022",
        // All of 2024: the palette stands once, by `light-dark()`, and is not to be written out twice for older ones.
        cssTarget: ["chrome123", "firefox120", "safari17.5"],
        sourcemap: false,
        // A policy without `data:` may stand before the page, so nothing is inlined.
        assetsInlineLimit: 0,
        reportCompressedSize: false,
    },
    // The palette is read by its test.
    test: { css: true },
});
