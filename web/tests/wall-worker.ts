// A worker of many slots that draws nothing: it sends the same few pictures again and again, so that a wall of tiles can be
// measured without the price of drawing. It speaks the worker protocol with the library `ws`.

import { createRequire } from "node:module";
import { join } from "node:path";
import type { Program } from "./program.ts";

interface Socket {
    on(name: "open" | "message" | "close", listener: (data: Buffer) => void): void;
    send(data: string | Buffer): void;
    close(): void;
}
export type Maker = new (url: string, options: { headers: Record<string, string> }) => Socket;
const { WebSocket } = createRequire(join(import.meta.dirname, "../../sdk/typescript/package.json"))("ws") as { WebSocket: Maker };

const HEADER_BYTES = 37;

/** Takes `slots` runs and sends each `fps` pictures a second, until it is stopped. */
export async function startWall(program: Program, slots: number, fps: number, pictures: readonly Buffer[]): Promise<() => void> {
    const token = program.token("wall", "worker");
    const socket = new WebSocket(`${program.url.replace("http", "ws")}/v1/worker`, { headers: { authorization: `Bearer ${token}` } });
    const say = (message: unknown) => socket.send(JSON.stringify(message));
    const runs = new Map<string, { handle: number; fence: number; index: number; wanted: boolean }>();
    const timers = [
        setInterval(() => say({ type: "heartbeat", tokens: 10 }), 1_000),
        setInterval(() => {
            for (const run of runs.values()) {
                if (!run.wanted) continue;
                socket.send(frame(run.handle, run.fence, run.index, pictures[run.index % pictures.length] as Buffer));
                run.index += 1;
            }
        }, 1_000 / fps),
    ];
    socket.on("message", (data) => {
        const message = JSON.parse(String(data)) as { type: string; offer: string; lease: string; handle: number; fence: number; full?: unknown; tile?: unknown };
        if (message.type === "offer") say({ type: "accept", offer: message.offer });
        if (message.type === "granted") runs.set(message.lease, { handle: message.handle, fence: message.fence, index: 0, wanted: true });
        if (message.type === "wanted") {
            const run = runs.get(message.lease);
            if (run !== undefined) run.wanted = message.full !== undefined || message.tile !== undefined;
        }
    });
    await new Promise<void>((resolve) => socket.on("open", () => resolve()));
    say({ type: "hello", worker: "wall", instance: "1", pools: { gpu: slots } });
    say({ type: "heartbeat", tokens: 10 });
    return () => {
        for (const timer of timers) clearInterval(timer);
        socket.close();
    };
}

function frame(handle: number, fence: number, index: number, picture: Buffer): Buffer {
    const header = Buffer.alloc(4 + HEADER_BYTES);
    header.writeUInt32LE(handle, 0);
    header.write("RF", 4);
    header.writeUInt8(1, 6);
    header.writeUInt8(1, 7);
    header.writeUInt16LE(HEADER_BYTES, 8);
    header.writeUInt32LE(fence, 12);
    header.writeUInt32LE(index, 16);
    header.writeUInt32LE(0, 20);
    header.writeBigUInt64LE(BigInt(index) * 200_000n, 28);
    header.writeUInt16LE(240, 36);
    header.writeUInt16LE(135, 38);
    return Buffer.concat([header, picture]);
}
