// A film file in headless Chromium: plays and seeks it in a <video> over a server that gives parts. Prints what it saw as
// one line of JSON.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { browse, play } from "./video.mjs";

const film = await readFile(JSON.parse(process.argv[2]).file);

const home = createServer((request, answer) => {
  if (request.url !== "/film.mp4") return answer.setHeader("content-type", "text/html").end("<!doctype html><title>a page</title>");
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "") ?? [];
  const first = Number(from ?? 0), last = Math.min(to ? Number(to) : film.length - 1, film.length - 1);
  answer.writeHead(from ? 206 : 200, {
    "content-type": "video/mp4", "accept-ranges": "bytes", "content-length": last - first + 1,
    ...(from && { "content-range": `bytes ${first}-${last}/${film.length}` }),
  });
  answer.end(film.subarray(first, last + 1));
});
await new Promise((resolve) => home.listen(0, "127.0.0.1", resolve));
try {
  await browse(async (page) => {
    const origin = `http://127.0.0.1:${home.address().port}`;
    await page.goto(`${origin}/`);
    console.log(JSON.stringify(await page.evaluate(play, `${origin}/film.mp4`)));
  });
} finally {
  home.close();
  home.closeAllConnections();
}
