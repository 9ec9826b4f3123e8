import { defineConfig } from "vitest/config";

// Tests that restart a real server wait for it; everything else takes milliseconds.
export default defineConfig({ test: { include: ["tests/**/*.test.ts"], testTimeout: 30_000, hookTimeout: 30_000 } });
