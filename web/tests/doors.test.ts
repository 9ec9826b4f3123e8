// A server for others signs nobody in: a token is wanted, and a wrong one is told to be wrong.

import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { Browser } from "./browser.ts";
import { Program } from "./program.ts";
import { Studio } from "./studio.ts";

let program: Program;
let browser: Browser;

beforeAll(async () => {
    [program, browser] = await Promise.all([Program.serve(), Browser.start()]);
    program.work();
});
afterEach(() => browser.closePages());
afterAll(() => Promise.all([program.stop(), browser.stop()]));

it("asks for a token, says that a wrong one is wrong, and goes in with a good one", async () => {
    const page = await browser.page();
    await page.goto(program.url);
    await page.getByTestId("token").fill("no.such.token");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => /token/.test(document.querySelector("[data-testid=notice]")?.textContent ?? ""));
    await page.getByTestId("token").fill(program.token("ada"));
    await page.keyboard.press("Enter");
    const studio = new Studio(page);
    await studio.generate("a lake at dawn", 1);
    await studio.film();
    expect(await studio.at("user-switch").count()).toBe(0);
    expect(browser.errors()).toEqual([]);
});

it("takes a token out of the address at once, and keeps it for this tab alone", async () => {
    const page = await browser.page();
    const studio = await Studio.open(page, `${program.url}/#token=${program.token("grace")}`);
    expect(page.url()).not.toContain("token");
    await page.reload();
    await studio.at("submit").waitFor();
    const other = await browser.page();
    await other.goto(program.url);
    await other.getByTestId("token").waitFor();
});

it("asks for another token when the one it has expires, and opens the same film with it", async () => {
    const page = await browser.page();
    const expired = program.token("ada", "user", "1s");
    await page.waitForTimeout(1_100);
    await page.goto(`${program.url}/#token=${expired}`);
    await page.getByTestId("token").waitFor();
    expect(await page.getByTestId("notice").textContent()).toMatch(/expired/);
    await page.getByTestId("token").fill(program.token("ada"));
    await page.keyboard.press("Enter");
    await new Studio(page).at("submit").waitFor();
    expect(browser.errors()).toEqual([]);
});
