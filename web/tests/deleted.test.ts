// A generation that is deleted elsewhere while somebody looks at it: every part of the screen says so, and none waits for it.

import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { Browser } from "./browser.ts";
import { Program } from "./program.ts";
import { Studio } from "./studio.ts";

let program: Program;
let browser: Browser;

beforeAll(async () => {
    [program, browser] = await Promise.all([Program.demo(), Browser.start()]);
});
afterEach(() => browser.closePages());
afterAll(() => Promise.all([program.stop(), browser.stop()]));

/** What another tab, or a program, of the same person does. */
async function deleteElsewhere(id: string): Promise<void> {
    let state = "";
    while (!["complete", "failed", "cancelled"].includes(state)) ({ state } = await program.ask<{ state: string }>("ada", `/v1/generations/${id}`));
    await program.ask("ada", `/v1/generations/${id}`, "DELETE");
}

/** The stage, the drawer, the tiles and the tab say that it is gone, and nothing turns. */
async function expectDeleted(studio: Studio, id: string): Promise<void> {
    const { page } = studio;
    await studio.state("Deleted");
    await page.locator("[data-testid=drawer]", { hasText: "This film was deleted" }).waitFor();
    await page.waitForFunction((id) => document.querySelector(`[data-generation=${id}]`) === null, id);
    await page.waitForFunction(() => document.title === "Deleted · Rushes");
    expect(await page.locator(".middle [role=progressbar]").count()).toBe(0);
    expect(await studio.at("player").count(), "no player waits").toBe(0);
    expect(await studio.at("cancel").count()).toBe(0);
    expect(await page.getByRole("alert").allTextContents()).toEqual(["It, its events and its files are gone from the server."]);
    expect(await studio.at("notice").count()).toBe(0);
    // The page is of use all the same, and the badge is that of a page with nothing to wait for.
    await page.waitForFunction(() => /Live|Ready/.test(document.querySelector("[data-testid=connection]")?.textContent ?? ""));
    expect(browser.errors()).toEqual([]);
}

async function open(prompt: string, seconds: number): Promise<{ studio: Studio; id: string }> {
    const studio = await Studio.open(await browser.page(), program.url);
    await studio.openDrawer();
    return { studio, id: await studio.generate(prompt, seconds) };
}

/** As when somebody comes back to the tab. */
async function comeBack(studio: Studio): Promise<void> {
    await studio.page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
}

it("says so of one that was running", async () => {
    const { studio, id } = await open("a storm at sea that nobody wants", 8);
    await studio.state("Generating frames");
    await program.ask("ada", `/v1/generations/${id}/cancel`, "POST");
    await deleteElsewhere(id);
    await expectDeleted(studio, id);
    await studio.generate("a lake, after all", 1);
    await studio.film();
});

it("says so of a finished film, even in full screen, when somebody comes back to it", async () => {
    const { studio, id } = await open("a film for a moment", 1);
    await studio.film();
    await studio.at("player").hover();
    await studio.page.getByLabel("Full screen").click();
    await studio.page.waitForFunction(() => document.fullscreenElement !== null);
    await deleteElsewhere(id);
    await comeBack(studio);
    await expectDeleted(studio, id);
    await studio.page.waitForFunction(() => document.fullscreenElement === null);
});

it("says so of one that is opened from a tile that is still there", async () => {
    const { studio, id } = await open("a film in the list", 1);
    await studio.film();
    await studio.generate("another film", 1);
    await studio.film();
    await deleteElsewhere(id);
    await studio.page.locator(`[data-generation=${id}]`).click();
    await expectDeleted(studio, id);
});

it("says so when something is done with one that is not there any more", async () => {
    const { studio, id } = await open("a film that is stopped", 8);
    await studio.state("Generating frames");
    await studio.at("cancel").click();
    await studio.state("Cancelled");
    await deleteElsewhere(id);
    await studio.at("retry").click();
    await expectDeleted(studio, id);
});
