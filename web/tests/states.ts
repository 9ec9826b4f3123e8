// Takes a picture of every state of the studio, in the dark, in the light and as wide as a phone, for looking at. No test:
// `STUDIO_RUN=states STUDIO_PICTURES=<folder>` before the command of the browser tests runs it.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, it } from "vitest";
import { Browser } from "./browser.ts";
import { startFailing } from "./failing-worker.ts";
import { Network } from "./network.ts";
import { Program } from "./program.ts";
import { Studio } from "./studio.ts";

const FOLDER = process.env.STUDIO_PICTURES ?? "states";
const WIDE = { width: 1440, height: 900 };
const PHONE = { width: 390, height: 844 };

let program: Program;
let browser: Browser;
let network: Network;

beforeAll(async () => {
    mkdirSync(FOLDER, { recursive: true });
    [program, browser] = await Promise.all([Program.demo(), Browser.start(WIDE)]);
    network = await Network.to(program.url);
});
afterAll(async () => {
    network.stop();
    await Promise.all([program.stop(), browser.stop()]);
});

/** The state as it is, three times. */
async function shoot(page: Page, name: string): Promise<void> {
    const picture = (kind: string) => page.screenshot({ path: join(FOLDER, `${name}-${kind}.png`) });
    const change = async (colorScheme: "dark" | "light") => {
        await page.emulateMedia({ colorScheme });
        // Colours glide into one another for a seventh of a second.
        await page.waitForTimeout(250);
    };
    await change("dark");
    await picture("dark");
    await change("light");
    await picture("light");
    await change("dark");
    await page.setViewportSize(PHONE);
    await page.locator("#stage").evaluate((stage) => stage.scrollIntoView({ block: "start", behavior: "instant" })).catch(() => {});
    await picture("phone");
    await page.setViewportSize(WIDE);
    await page.evaluate(() => scrollTo(0, 0));
}

it("while a film is made", async () => {
    const page = await browser.page();
    await page.emulateMedia({ colorScheme: "dark" });
    await page.route("**/v1/**", (route) => route.abort());
    await page.goto(network.url);
    await page.getByText("No answer yet").waitFor();
    await page.setViewportSize(WIDE);
    await page.screenshot({ path: join(FOLDER, "00-no-answer-dark.png") });
    await page.unroute("**/v1/**");
    const studio = new Studio(page);
    await studio.at("submit").waitFor();
    await shoot(page, "01-opening");
    await page.setViewportSize(PHONE);
    await page.screenshot({ path: join(FOLDER, "01-opening-top-phone.png") });
    await page.setViewportSize(WIDE);

    const first = await studio.generate("aurora over arctic pine forest at night, lake reflection", 3);
    await studio.film();
    await page.waitForTimeout(1_200);
    await studio.at("player").hover();
    await shoot(page, "06-complete");
    await page.getByLabel("Standard").check({ force: true });
    await page.locator("#seconds").fill("12");
    await page.getByLabel("HD", { exact: true }).check({ force: true });
    await studio.at("prompt").fill("A golden sunset over a calm mountain lake, the camera drifting slowly left");
    await studio.at("submit").click();
    await page.waitForFunction((first) => location.hash !== `#${first}`, first);
    const long = await studio.opened();
    await shoot(page, "03-beginning");
    for (const prompt of ["a sailing boat on a stormy sea at dusk", "neon city at night in the rain"]) {
        await program.ask("ada", "/v1/generations", "POST", { prompt, params: { width: 854, height: 480, seconds: 4 } });
    }
    const { generation } = await program.ask<{ generation: { id: string } }>("ada", "/v1/generations", "POST", { prompt: "a ringed planet in deep space, slow", params: { width: 640, height: 360, seconds: 2 } });
    await page.evaluate((id) => (location.hash = id), generation.id);
    await studio.state("Queued");
    await page.waitForTimeout(1_500);
    await shoot(page, "02-queued");
    await page.evaluate((id) => (location.hash = id), long);
    await studio.state("Generating frames");
    await page.waitForFunction(() => window.recorded.drawn.filter(({ isPlayer }) => isPlayer).length > 12);
    await shoot(page, "04-live");
    await studio.openDrawer();
    await page.waitForTimeout(1_000);
    await shoot(page, "10-drawer");
    await studio.at("cut").click();
    network.cut();
    await page.waitForTimeout(2_500);
    await shoot(page, "09-reconnecting");
    network.mend();
    await page.waitForFunction(() => document.querySelector("[data-testid=event-row][data-refilled=true]") !== null);
    await page.waitForTimeout(500);
    await shoot(page, "11-refilled");
    await studio.at("drawer-toggle").click();
    await browser.context.setOffline(true);
    network.cut();
    await page.getByText("You are offline").first().waitFor();
    await shoot(page, "08-offline");
    network.mend();
    await browser.context.setOffline(false);
    await page.waitForFunction(() => document.querySelector("[data-testid=connection]")?.textContent?.includes("Live"));
    for (const name of ["Interpolating", "Upscaling", "Encoding"]) {
        await studio.state(name);
        await shoot(page, `05-${name.toLowerCase()}`);
    }
    await studio.film();
    await page.evaluate((id) => (location.hash = id), generation.id);
    await studio.state("Queued", "Generating frames");
    await studio.at("cancel").click();
    await studio.state("Cancelled");
    await page.waitForTimeout(300);
    await shoot(page, "07-cancelled");
    await program.ask("ada", `/v1/generations/${generation.id}`, "DELETE");
    await studio.at("retry").click();
    await studio.state("Deleted");
    await shoot(page, "12-deleted");
    await page.route(network.url + "/", (route) => route.fulfill({ contentType: "text/html", body: `<script type="module" src="./assets/index-later.js"></script>` }));
    await studio.generate("a mountain lake", 4);
    await studio.state("Generating frames");
    network.cut();
    network.mend();
    await page.getByText("The server was updated").waitFor();
    await shoot(page, "13-other-version");
    await page.locator(".tiles").scrollIntoViewIfNeeded();
    await page.screenshot({ path: join(FOLDER, "14-tiles-dark.png") });
    await page.getByText("Attach your model").first().click();
    await page.waitForTimeout(400);
    await page.screenshot({ path: join(FOLDER, "15-attach-dark.png") });
    await page.keyboard.press("Escape");
    await studio.at("user-switch").getByLabel("Grace").check({ force: true });
    await page.getByText("Nothing yet.").waitFor();
    await shoot(page, "16-second-user");
}, 400_000);

it("where it fails, and at a door that wants a token", async () => {
    const server = await Program.serve();
    const stop = await startFailing(server);
    const page = await browser.page();
    await page.emulateMedia({ colorScheme: "dark" });
    await page.goto(server.url);
    await page.getByTestId("token").waitFor();
    await page.screenshot({ path: join(FOLDER, "17-token-dark.png") });
    await page.getByTestId("token").fill("no.such.token");
    await page.keyboard.press("Enter");
    await page.getByText(/takes this token no more|token/).first().waitFor();
    await page.waitForTimeout(1_000);
    await page.screenshot({ path: join(FOLDER, "18-wrong-token-dark.png") });
    await page.getByTestId("token").fill(server.token("ada"));
    await page.keyboard.press("Enter");
    const studio = new Studio(page);
    await studio.generate("neon city at night in the rain", 3);
    await studio.state("Failed");
    await page.waitForTimeout(500);
    await shoot(page, "19-failed");
    stop();
    await server.stop();
}, 120_000);
