// A server that is not as it should be, pictures that are none, and code that throws: the page stays a page.

import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { Browser, recordedOf } from "./browser.ts";
import { Network } from "./network.ts";
import { Program } from "./program.ts";
import { Studio } from "./studio.ts";

let program: Program;
let browser: Browser;

beforeAll(async () => {
    [program, browser] = await Promise.all([Program.demo(), Browser.start()]);
});
afterEach(() => browser.closePages());
afterAll(() => Promise.all([program.stop(), browser.stop()]));

it("counts pictures that do not decode, and shows the film all the same", async () => {
    const page = await browser.page();
    await page.routeWebSocket(/\/v1\/live/, (socket) => {
        const server = socket.connectToServer();
        server.onMessage((message) => {
            if (typeof message === "string") return socket.send(message);
            // The header is whole, and so are the first bytes of the picture; behind them nothing is right.
            const begin = message.readUInt16LE(4) + 16;
            socket.send(Buffer.concat([message.subarray(0, begin), Buffer.alloc(message.length - begin, 0x5a)]));
        });
    });
    const studio = await Studio.open(page, program.url);
    await studio.openDrawer();
    await studio.generate("aurora over a pine forest", 1);
    await studio.film();
    const recorded = await recordedOf(page);
    expect(recorded.decoded).toBe(0);
    expect(recorded.drawn).toEqual([]);
    expect(browser.errors()).toEqual([]);
});

it("is not blank when drawing throws", async () => {
    const page = await browser.page();
    await page.addInitScript(() => {
        CanvasRenderingContext2D.prototype.drawImage = () => {
            throw new Error("thrown by the test");
        };
    });
    const studio = await Studio.open(page, program.url);
    // Long enough that pictures are still made when somebody looks.
    await studio.generate("a city at night in the rain", 4);
    await studio.film();
    await studio.state("Finished");
    expect(new Set(browser.errors())).toEqual(new Set(["Error: thrown by the test"]));
});

it("says what a server of another version answers, and keeps what was typed", async () => {
    const page = await browser.page();
    const studio = await Studio.open(page, program.url);
    await page.route("**/v1/generations", (route) => route.fulfill({ status: 200, contentType: "text/html", body: "<html>a later version" }));
    await studio.wish("a lake that stays typed", 1);
    await studio.at("submit").click();
    await page.locator(".fault").first().waitFor({ timeout: 30_000 });
    expect(await studio.at("prompt").inputValue()).toBe("a lake that stays typed");
    await page.route("**/v1/generations", (route) =>
        route.fulfill({ status: 400, contentType: "application/json", body: JSON.stringify({ error: { code: "from_the_future", message: "no lakes any more", hint: "ask for a sea", retryable: false } }) }),
    );
    await studio.at("submit").click();
    await page.getByText("no lakes any more").waitFor();
    await page.getByText("ask for a sea").waitFor();
    expect(browser.errors()).toEqual([]);
});

it("asks to be loaded again when the server came back with another page", async () => {
    const network = await Network.to(program.url);
    const page = await browser.page();
    const studio = await Studio.open(page, network.url);
    await studio.generate("a mountain lake", 2);
    await page.route(network.url + "/", (route) => route.fulfill({ contentType: "text/html", body: `<script type="module" src="./assets/index-later.js"></script>` }));
    network.cut();
    network.mend();
    await page.getByText("The server was updated").waitFor();
    await studio.film();
    network.stop();
});

it("shows that nothing answers, and comes in by itself when something does", async () => {
    const network = await Network.to(program.url);
    const page = await browser.page();
    let isThere = false;
    await page.route("**/v1/**", (route) => (isThere ? route.continue() : route.abort()));
    await page.goto(network.url);
    await page.getByText("No answer yet").waitFor();
    isThere = true;
    await new Studio(page).at("submit").waitFor();
    network.stop();
});
