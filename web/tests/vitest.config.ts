import { defineConfig } from "vitest/config";

// `STUDIO_RUN=recording` or `numbers` runs what is no test: what scripts/recording and bench/screen/run need.
const run = process.env.STUDIO_RUN;

// One browser and one machine: the tests run one after the other. A film takes seconds, more where others work too.
export default defineConfig({
    root: import.meta.dirname,
    test: {
        include: [run === undefined ? "**/*.test.ts" : `${run}.ts`],
        testTimeout: 120_000, hookTimeout: 60_000, fileParallelism: false, isolate: false, maxWorkers: 1,
    },
});
