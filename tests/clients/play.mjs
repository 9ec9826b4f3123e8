// A page of another origin in headless Chromium: follows a generation to its end by EventSource and WebSocket, then plays
// and seeks the film in a <video>. Prints what it saw as one line of JSON.
import { createServer } from "node:http";
import { browse, play } from "./video.mjs";

const { server, generation, liveToken } = JSON.parse(process.argv[2]);

/** Runs in the page: every sequence until `done`, as `EventSource` hears it. */
function follow({ server, generation, liveToken }) {
  return new Promise((resolve, reject) => {
    const events = [];
    const source = new EventSource(`${server}/v1/generations/${generation}/events?token=${encodeURIComponent(liveToken)}`);
    source.onmessage = ({ data, lastEventId }) => {
      const event = JSON.parse(data);
      if (!event.ephemeral) events.push({ sequence: event.sequence, type: event.type, position: lastEventId, metadata: event.metadata });
    };
    source.addEventListener("done", () => { source.close(); resolve(events); });
    source.addEventListener("problem", ({ data }) => reject(new Error(data)));
    source.onerror = () => reject(new Error("the stream broke"));
  });
}

/** Runs in the page: the same by WebSocket. */
function watch({ server, generation, liveToken }) {
  return new Promise((resolve, reject) => {
    const sequences = [];
    const socket = new WebSocket(`${server.replace("http", "ws")}/v1/live`, "rushes.v1");
    socket.onopen = () => socket.send(JSON.stringify({ type: "authenticate", token: liveToken }));
    socket.onclose = ({ code, reason }) => reject(new Error(`closed: ${code} ${reason}`));
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.type === "authenticated") socket.send(JSON.stringify({ type: "subscribe", generationId: generation, after: "start" }));
      if (message.type === "status_update" && !message.data.ephemeral) sequences.push(message.data.sequence);
      if (message.type === "error") reject(new Error(data));
      if (message.type === "done") resolve({ sequences, protocol: socket.protocol });
    };
  });
}

const home = createServer((_, answer) => answer.setHeader("content-type", "text/html").end("<!doctype html><title>a page</title>"));
await new Promise((resolve) => home.listen(0, "127.0.0.1", resolve));
try {
  await browse(async (page) => {
    const statuses = [];
    page.on("response", (answer) => { if (answer.url().includes("/artifacts/")) statuses.push(answer.status()); });
    await page.goto(`http://127.0.0.1:${home.address().port}/`);
    const input = { server, generation, liveToken };
    const [events, socket] = await Promise.all([page.evaluate(follow, input), page.evaluate(watch, input)]);
    const film = new URL(events.at(-1).metadata.videoUrl, server).href;
    const played = await page.evaluate(play, film);
    console.log(JSON.stringify({ events, socket, played, statuses }));
  });
} finally {
  home.close();
}
