// One Chromium for all tests, with a profile of its own; a page for each test, recorded from its first moment.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium, type BrowserContext, type Page } from "playwright-core";
import { record, type Recorded } from "./recorder.ts";

const FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
];
/** Nothing on the page takes so long; reaching it is a failure. */
const PATIENCE_MS = 60_000;

export class Browser {
    readonly context: BrowserContext;
    readonly #profile: string;
    /** What the pages of this test complained of. */
    readonly #errors: string[] = [];

    private constructor(context: BrowserContext, profile: string) {
        this.context = context;
        this.#profile = profile;
    }

    static async start(size = { width: 1280, height: 860 }): Promise<Browser> {
        const profile = mkdtempSync(join(tmpdir(), "rushes-chromium-"));
        const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
        const context = await chromium.launchPersistentContext(profile, { executablePath, headless: true, args: FLAGS, viewport: size });
        context.setDefaultTimeout(PATIENCE_MS);
        const browser = new Browser(context, profile);
        await context.addInitScript(record);
        return browser;
    }

    async page(): Promise<Page> {
        const page = await this.context.newPage();
        page.on("pageerror", (error) => this.#errors.push(String(error)));
        return page;
    }

    /** Uncaught errors since the last call. */
    errors(): string[] {
        return this.#errors.splice(0);
    }

    async closePages(): Promise<void> {
        await Promise.all(this.context.pages().map((page) => page.close()));
    }

    async stop(): Promise<void> {
        await this.context.close();
        rmSync(this.#profile, { recursive: true, force: true });
    }
}

export function recordedOf(page: Page): Promise<Recorded> {
    return page.evaluate(() => window.recorded);
}
