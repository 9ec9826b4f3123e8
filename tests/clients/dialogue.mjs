// Plays the recorded dialogue with the `ws` package, a client we did not write. Prints each row it played as a line of
// JSON; whatever is not as recorded ends it with an error.
import { readFileSync } from "node:fs";
import assert from "node:assert/strict";
import WebSocket from "ws";

const { server, path, words, ada, bob } = JSON.parse(process.argv[2]);
const STATUSES = ["queued", "prompt_analysis", "generating_frames", "interpolating", "upscaling", "encoding", "complete", "failed"];
let reports = 0;

/** Everything a connection hears, to be taken in order. */
class Client {
  #heard = [];
  #waiting = null;

  constructor() {
    this.socket = new WebSocket(server.replace("http", "ws") + path);
    this.socket.on("message", (data, binary) => this.#take({ message: binary ? data : JSON.parse(data.toString()) }));
    this.socket.on("close", (code, reason) => this.#take({ code, reason: reason.toString() }));
    this.opened = new Promise((resolve, reject) => this.socket.once("open", resolve).once("error", reject));
  }

  #take(what) {
    this.#heard.push(what);
    this.#waiting?.();
  }

  async next() {
    while (this.#heard.length === 0) {
      await new Promise((resolve) => { this.#waiting = resolve; });
    }
    return this.#heard.shift();
  }
}

function rows(text) {
  return text.split(/^== /m).slice(1).map((row) => {
    const [name, ...lines] = row.split("\n");
    return { name, lines: lines.filter((line) => line !== "") };
  });
}

/** What is recorded is there; more may be. */
function holds(found, recorded, at) {
  if (recorded === null || typeof recorded !== "object") return assert.equal(found, recorded, at);
  for (const [key, value] of Object.entries(recorded)) holds(found?.[key], value, `${at}.${key}`);
}

/** What is true of every message of the dialect. */
function wellFormed(message) {
  assert.ok(Number.isInteger(message.timestamp), JSON.stringify(message));
  if (message.type !== "status_update") return;
  const { data } = message;
  assert.ok(STATUSES.includes(data.status) && data.progress >= 0 && data.progress <= 100, JSON.stringify(data));
  assert.ok(typeof data.message === "string" && Number.isInteger(data.timestamp), JSON.stringify(data));
  assert.ok(data.metadata === undefined || (typeof data.metadata === "object" && data.metadata !== null), "metadata is never null");
}

async function post(path, token, body) {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const answer = await fetch(server + path, { method: "POST", headers, body: JSON.stringify(body) });
  assert.ok(answer.ok, `${path}: ${answer.status} ${await answer.clone().text()}`);
  return answer.json();
}

async function play({ name, lines }) {
  const submit = async (token) => (await post("/v1/generations", token, { pipeline: "external" })).generation.id;
  const own = { ...words, MINE: await submit(ada), THEIRS: await submit(bob) };
  const fill = (text) => text.replace(/\$([A-Z]+)/g, (_, word) => own[word]);
  const client = new Client();
  await client.opened;
  for (const line of lines) {
    const space = line.indexOf(" ");
    const [mark, rest] = [line.slice(0, space), fill(line.slice(space + 1))];
    const at = `${name}: ${line}`;
    if (mark === ">") client.socket.send(rest);
    else if (mark === ">b") client.socket.send(Buffer.from(rest));
    else if (mark === "!") await post(`/v1/generations/${own.MINE}/events`, ada, [{ eventId: `r${process.pid}-${reports++}`, ...JSON.parse(rest) }]);
    else {
      const heard = await client.next();
      if (mark === "x") {
        const [code, reason] = rest.split(/ (.*)/);
        assert.equal(heard.code, Number(code), `${at}: ${JSON.stringify(heard)}`);
        if (reason !== undefined) assert.equal(heard.reason, reason, at);
        continue;
      }
      assert.ok(heard.message, `${at}: ${JSON.stringify(heard)}`);
      holds(heard.message, JSON.parse(rest), `${at}: ${JSON.stringify(heard.message)}`);
      wellFormed(heard.message);
    }
  }
  client.socket.close(1000, "Component unmounting");
  console.log(JSON.stringify(name));
}

const recorded = rows(readFileSync(new URL("dialogue.txt", import.meta.url), "utf8"));
await Promise.all(recorded.map(play));
