// What the clients with a browser share: headless Chromium with one page, and a <video> in it that plays and seeks.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"];
/** Nothing in a page takes so long; reaching it is a failure. */
const PATIENCE_MS = 60_000;

/** Gives `use` a page of a browser of its own, gone with everything it kept when `use` ends. */
export async function browse(use) {
  const profile = await mkdtemp(join(tmpdir(), "rushes-chromium-"));
  const context = await chromium.launchPersistentContext(profile, { executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", headless: true, args: FLAGS });
  try {
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    await use(page);
  } finally {
    await context.close();
    await rm(profile, { recursive: true, force: true });
  }
}

/** Runs in the page: plays, seeks to the middle and back, and plays to the end. */
export async function play(url) {
  const video = document.createElement("video");
  const heard = (name) => new Promise((resolve, reject) => {
    video.addEventListener(name, resolve, { once: true });
    video.addEventListener("error", () => reject(new Error(`${video.error.code} ${video.error.message}`)), { once: true });
  });
  const seek = async (time) => {
    const seeked = heard("seeked");
    video.currentTime = time;
    await seeked;
    return video.currentTime;
  };
  video.muted = true;
  video.src = url;
  document.body.append(video);
  await heard("loadedmetadata");
  await video.play();
  while (video.currentTime < 0.2) await heard("timeupdate");
  const advanced = video.currentTime;
  video.pause();
  const { duration, videoWidth: width, videoHeight: height } = video;
  const middle = await seek(duration / 2);
  const start = await seek(0);
  const ended = heard("ended");
  await video.play();
  await ended;
  return { duration, width, height, advanced, middle, start, ended: video.ended, seekable: video.seekable.end(0), error: video.error };
}
