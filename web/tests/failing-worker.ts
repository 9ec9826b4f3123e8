// A worker that says of each run, after its first stage, that it failed for good: for looking at what the page makes of it.

import { join } from "node:path";
import { createRequire } from "node:module";
import type { Program } from "./program.ts";
import type { Maker } from "./wall-worker.ts";

const { WebSocket } = createRequire(join(import.meta.dirname, "../../sdk/typescript/package.json"))("ws") as { WebSocket: Maker };

/** Fails what it gets until it is stopped. */
export async function startFailing(program: Program): Promise<() => void> {
    const headers = { authorization: `Bearer ${program.token("failing", "worker")}` };
    const socket = new WebSocket(`${program.url.replace("http", "ws")}/v1/worker`, { headers });
    const say = (message: unknown) => socket.send(JSON.stringify(message));
    socket.on("message", (data) => {
        const { type, offer, lease } = JSON.parse(String(data)) as { type: string; offer: string; lease: string };
        if (type === "offer") say({ type: "accept", offer });
        if (type !== "granted") return;
        say({ type: "progress", lease, stage: "generating_frames", progress: 38 });
        const message = "the model ran out of patience at frame 14 of 36";
        setTimeout(() => say({ type: "fail", lease, eventId: `fail.${lease}`.slice(0, 128), kind: "fatal", code: "model_gave_up", message }), 500);
    });
    await new Promise<void>((resolve) => socket.on("open", () => resolve()));
    say({ type: "hello", worker: "failing", instance: "1", pools: { gpu: 1 } });
    const timer = setInterval(() => say({ type: "heartbeat", tokens: 1 }), 500);
    return () => {
        clearInterval(timer);
        socket.close();
    };
}
