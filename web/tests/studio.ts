// The studio as a person uses it: by what stands on the screen.

import type { Page } from "playwright-core";

export class Studio {
    readonly page: Page;

    constructor(page: Page) {
        this.page = page;
    }

    static async open(page: Page, url: string): Promise<Studio> {
        await page.goto(url);
        const studio = new Studio(page);
        await studio.at("submit").waitFor();
        return studio;
    }

    at(testId: string) {
        return this.page.getByTestId(testId);
    }

    /** Fills the form in: the smallest picture the page offers. */
    async wish(prompt: string, seconds: number): Promise<void> {
        await this.at("prompt").fill(prompt);
        await this.page.getByLabel("Draft", { exact: true }).check({ force: true });
        await this.page.locator("#seconds").fill(String(seconds));
    }

    /** Submits, and answers the id of what was opened. */
    async generate(prompt: string, seconds: number): Promise<string> {
        const before = await this.opened();
        await this.wish(prompt, seconds);
        await this.at("submit").click();
        await this.page.waitForFunction((before) => location.hash.startsWith("#gen_") && location.hash !== `#${before}`, before);
        return this.opened();
    }

    async opened(): Promise<string> {
        return new URL(this.page.url()).hash.slice(1);
    }

    /** Waits until the state says one of these. */
    async state(...texts: string[]): Promise<void> {
        await this.page.waitForFunction((texts) => texts.includes(document.querySelector("[data-testid=state]")?.textContent ?? ""), texts);
    }

    async film(): Promise<void> {
        await this.page.waitForFunction(() => document.querySelector("[data-testid=player]")?.getAttribute("data-showing") === "film");
    }

    async openDrawer(): Promise<void> {
        if (!(await this.at("drawer").isVisible())) await this.at("drawer-toggle").click();
        await this.at("drawer").waitFor();
    }

    /** The sequences in the drawer, oldest first, and which of them came in a refill. */
    async rows(): Promise<{ readonly sequences: number[]; readonly refilled: number[] }> {
        const rows = await this.at("event-row").evaluateAll((rows) =>
            rows.map((row) => [Number(row.getAttribute("data-sequence")), row.getAttribute("data-refilled") === "true"] as const),
        );
        const ordered = [...rows].reverse();
        return { sequences: ordered.map(([sequence]) => sequence), refilled: ordered.filter(([, is]) => is).map(([sequence]) => sequence) };
    }

    /** A number of the drawer's list of facts. */
    async fact(name: string): Promise<string> {
        return (await this.page.locator(".facts div", { hasText: name }).locator("dd").textContent()) ?? "";
    }
}

export function isDense(sequences: readonly number[]): boolean {
    return sequences.every((sequence, at) => at === 0 || sequence === (sequences[at - 1] as number) + 1);
}
