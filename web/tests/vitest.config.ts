import { defineConfig } from "vitest/config";

// One browser and one machine: the tests run one after the other. A film takes seconds, more where others work too.
export default defineConfig({
    root: import.meta.dirname,
    test: { include: ["**/*.test.ts"], testTimeout: 60_000, hookTimeout: 60_000, fileParallelism: false, isolate: false, maxWorkers: 1 },
});
