// A server that speaks the protocol and can be told to misbehave: it loses, repeats, delays, cuts and stays mute.

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { WebSocketServer, type WebSocket } from "ws";
import type { GenerationEvent } from "../src/event.ts";
import { eventOf } from "./support.ts";

/** What goes wrong. Each is asked each time. */
export interface Faults {
    /** Not sent on this connection. */
    lose?: (event: GenerationEvent) => boolean;
    repeat?: (event: GenerationEvent) => boolean;
    /** The connection is cut after this event. */
    cut?: (event: GenerationEvent) => boolean;
    /** Says nothing on sockets, though it accepts them. */
    muteSockets?: boolean;
    /** Answers sockets so. */
    refuseSockets?: number;
    /** Called with each message of a socket before it counts: what is sent here was on its way already. */
    meanwhile?: (message: Readonly<Record<string, string>>) => void;
    /** Answers, after so many milliseconds, only the last of the `subscribe`s of a generation that came meanwhile. */
    mergeMs?: number;
    /** Holds the body of streams back, as a buffering proxy does. */
    muteStreams?: boolean;
    /** Answers streams so. */
    refuseStreams?: number;
    /** Cuts streams into pieces of so many bytes. */
    pieceBytes?: number;
    /** Of every HTTP answer. */
    status?: (path: string) => { status: number; headers?: Record<string, string>; body?: unknown } | null;
}

export class ScriptedServer {
    url = "";
    epoch = "k";
    faults: Faults = {};
    /** What every `subscribe` and `unsubscribe` is answered by, without saying whose it was; null for none. */
    refusal: { code: string; error: string; retryable: boolean } | null = null;
    /** Those that are accepted; null accepts everything. */
    tokens: Set<string> | null = null;
    readonly logs = new Map<string, GenerationEvent[]>();
    readonly sockets = new Set<WebSocket>();
    /** What was asked, in order: `GET /v1/…`, or `ws subscribe gen_a k:1`. */
    readonly asked: string[] = [];
    readonly bodies: { path: string; key: string | undefined; body: unknown }[] = [];
    #listeners = new Set<() => void>();
    /** The order in which they were made. */
    readonly #made = new Map<string, number>();
    readonly #streams = new Set<ServerResponse>();
    readonly #connections = new Set<Socket>();
    readonly #webSockets = new WebSocketServer({ noServer: true });
    readonly #server = createServer((request, response) => void this.#answer(request, response));

    async start(port = 0): Promise<this> {
        this.#server.on("connection", (socket) => {
            this.#connections.add(socket);
            socket.on("close", () => this.#connections.delete(socket));
        });
        this.#server.on("upgrade", (request, socket, head) => {
            if (this.faults.refuseSockets !== undefined) {
                this.asked.push("ws refused");
                socket.end(`HTTP/1.1 ${this.faults.refuseSockets} No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`);
                return;
            }
            this.#webSockets.handleUpgrade(request, socket, head, (ws) => this.#serve(ws));
        });
        await new Promise<void>((resolve) => this.#server.listen(port, "127.0.0.1", resolve));
        this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
        return this;
    }

    async stop(): Promise<void> {
        const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
        this.cutAll();
        await closed;
    }

    /** Appends the next events of a generation; at `last` it ends. */
    publish(id: string, count: number, last = Infinity): void {
        const log = this.logs.get(id) ?? [];
        this.logs.set(id, log);
        if (!this.#made.has(id)) this.#made.set(id, this.#made.size);
        for (let step = 0; step < count; step += 1) log.push(eventOf(id, log.length + 1, last));
        for (const listener of [...this.#listeners]) listener();
    }

    /** Cuts everything that is open. */
    cutAll(): void {
        for (const socket of this.#connections) socket.destroy();
    }

    says(message: unknown): void {
        for (const socket of this.sockets) socket.send(JSON.stringify(message));
    }

    /** Ends every stream, as the server does when the token it was opened with is over. */
    expireStreams(): void {
        for (const stream of this.#streams) stream.end('event: expired\ndata: {"error":"Invalid or expired token"}\n\n');
    }

    /** How often something was asked. */
    count(prefix: string): number {
        return this.asked.filter((line) => line.startsWith(prefix)).length;
    }

    position(sequence: number): string {
        return `${this.epoch}:${sequence}`;
    }

    /** Sends what is after `after`, by the faults; answers where it stands, or null when the connection was cut. */
    #deliver(log: GenerationEvent[], after: number, send: (event: GenerationEvent) => void, cut: () => void): number | null {
        for (const event of log.slice(after)) {
            after = event.sequence;
            if (this.faults.lose?.(event)) continue;
            send(event);
            if (this.faults.repeat?.(event)) send(event);
            if (this.faults.cut?.(event)) {
                cut();
                return null;
            }
        }
        return after;
    }

    #place(log: GenerationEvent[], after: string | null): { after: number; recovery: "fresh" | "resumed" | "snapshot" } {
        const [epoch, sequence] = (after ?? "").split(":");
        if (after === "start") return { after: 0, recovery: "resumed" };
        if (after === null) return { after: log.length - 1, recovery: "fresh" };
        if (epoch === this.epoch && Number(sequence) <= log.length) return { after: Number(sequence), recovery: "resumed" };
        return { after: log.length - 1, recovery: "snapshot" };
    }

    #serve(socket: WebSocket): void {
        this.sockets.add(socket);
        const send = (message: unknown) => socket.readyState === 1 && !this.faults.muteSockets && socket.send(JSON.stringify(message));
        const watching = new Map<string, () => void>();
        socket.on("close", () => {
            this.sockets.delete(socket);
            for (const stop of watching.values()) stop();
        });
        socket.on("message", (data) => {
            const message = JSON.parse(String(data)) as Record<string, string>;
            const id = message.mine ? "*" : (message.generationId ?? "");
            this.asked.push(`ws ${message.type} ${message.token ?? id} ${message.after ?? ""}`.trim());
            this.faults.meanwhile?.(message);
            if (message.type === "ping") send({ type: "pong" });
            if (message.type === "authenticate") {
                if (this.tokens !== null && !this.tokens.has(message.token ?? "")) socket.close(4003, "bad token");
                else send({ type: "authenticated", userId: "u" });
            }
            if (/subscribe/.test(message.type ?? "") && this.refusal !== null) return send({ type: "error", ...this.refusal });
            if (message.type === "unsubscribe") {
                watching.get(id)?.();
                watching.delete(id);
                send({ type: "unsubscribed", ...(message.mine ? { mine: true } : { generationId: id }) });
            }
            if (message.type !== "subscribe") return;
            watching.get(id)?.();
            if (message.mine) {
                watching.set("*", this.#followAll((one, from) => {
                    if (!watching.has(one)) watching.set(one, this.#follow(socket, one, this.logs.get(one) ?? [], from, send, true));
                }));
                return send({ type: "subscribed", mine: true, recovery: "fresh" });
            }
            const log = this.logs.get(id);
            if (log === undefined) return send({ type: "error", code: "not_found", error: "no such generation", retryable: false, generationId: id });
            const follow = () => watching.set(id, this.#follow(socket, id, log, message.after ?? null, send));
            if (this.faults.mergeMs === undefined) return follow();
            const timer = setTimeout(follow, this.faults.mergeMs);
            watching.set(id, () => clearTimeout(timer));
        });
    }

    /** Tells of each generation that has not ended, and of each that comes. */
    #followAll(tell: (id: string, from: string | null) => void): () => void {
        const known = new Set(this.logs.keys());
        // From the state it has, as if nothing was known.
        for (const [id, log] of this.logs) if (log.at(-1)?.state !== "complete") tell(id, null);
        const look = () => {
            for (const id of this.logs.keys()) {
                if (known.has(id)) continue;
                known.add(id);
                tell(id, "start");
            }
        };
        this.#listeners.add(look);
        return () => this.#listeners.delete(look);
    }

    #follow(socket: WebSocket, id: string, log: GenerationEvent[], asked: string | null, send: (message: unknown) => void, ofMine = false): () => void {
        const place = this.#place(log, asked);
        let after: number | null = place.after;
        let snapshot = place.recovery !== "resumed";
        const move = () => {
            if (after === null) return;
            const update = (event: GenerationEvent) => {
                send({ type: "status_update", generationId: id, data: event, position: this.position(event.sequence), ...(snapshot && { recovery: "snapshot" }) });
                snapshot = false;
            };
            after = this.#deliver(log, after, update, () => socket.terminate());
        };
        move();
        if (after !== null && !ofMine) send({ type: "subscribed", generationId: id, position: this.position(after), recovery: place.recovery });
        const live = () => {
            move();
            if (log.at(-1)?.state === "complete" && after === log.length) {
                send({ type: "done", generationId: id });
                this.#listeners.delete(live);
            }
        };
        this.#listeners.add(live);
        live();
        return () => this.#listeners.delete(live);
    }

    async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
        const url = new URL(request.url ?? "/", this.url);
        this.asked.push(`${request.method} ${url.pathname}${url.search}`);
        const json = (status: number, body: unknown, headers: Record<string, string> = {}) => {
            response.writeHead(status, { "content-type": "application/json", ...headers });
            response.end(JSON.stringify(body));
        };
        let text = "";
        for await (const piece of request) text += String(piece);
        if (text !== "") this.bodies.push({ path: url.pathname, key: request.headers["idempotency-key"] as string | undefined, body: JSON.parse(text) });
        const told = this.faults.status?.(url.pathname);
        if (told) return json(told.status, told.body ?? {}, told.headers);
        const token = request.headers.authorization?.replace("Bearer ", "");
        if (this.tokens !== null && !this.tokens.has(token ?? "")) {
            return json(401, { error: { code: "unauthorized", message: "no", hint: "", retryable: false } });
        }
        const [, , , id = "", rest] = url.pathname.split("/");
        if (request.method === "POST" && url.pathname === "/v1/generations") {
            if (!this.logs.has("gen_new")) this.publish("gen_new", 1);
            return json(201, { generation: this.#generation("gen_new"), urls: {}, liveToken: "t" });
        }
        if (url.pathname === "/v1/events") return this.#many(request, response, json, url.searchParams);
        if (request.method === "GET" && url.pathname === "/v1/generations") return this.#list(json, url.searchParams);
        if (request.method === "DELETE" && this.logs.delete(id)) return void response.writeHead(204).end();
        const log = this.logs.get(id);
        if (log === undefined) return json(404, { error: { code: "not_found", message: "no such generation", hint: "", retryable: false } });
        if (rest === undefined) return json(200, this.#generation(id));
        this.#page(response, json, log, url.searchParams.get("after"), Number(request.headers.prefer?.toString().slice(5) ?? 0));
    }

    #generation(id: string): unknown {
        const status = this.logs.get(id)?.at(-1) as GenerationEvent;
        const createdAt = 1_700_000_000_000 + (this.#made.get(id) ?? 0);
        return { id, status, state: status.state, createdAt, position: this.position(status.sequence) };
    }

    /** Newest first. */
    #list(json: (status: number, body: unknown) => void, query: URLSearchParams): void {
        const ids = [...this.logs.keys()].reverse();
        const from = Number(query.get("cursor") ?? 0);
        const to = from + Number(query.get("limit") ?? 20);
        json(200, { generations: ids.slice(from, to).map((id) => this.#generation(id)), ...(to < ids.length && { nextCursor: String(to) }) });
    }

    #many(request: IncomingMessage, response: ServerResponse, json: (status: number, body: unknown) => void, query: URLSearchParams): void {
        const isMine = query.has("mine");
        const named = query.getAll("generation").map((text) => text.split("@") as [string, string?]);
        const unknown = named.find(([id]) => !this.logs.has(id));
        if (unknown !== undefined) {
            const details = named.length > 1 ? { details: { generationId: unknown[0] } } : {};
            return json(404, { error: { code: "not_found", message: "no such generation", hint: "", retryable: false, ...details } });
        }
        if (request.headers.accept?.includes("event-stream")) return this.#stream(response, isMine ? null : named);
        // The place of all of them is how many events there are; nothing here needs more.
        const count = () => [...this.logs.values()].reduce((sum, { length }) => sum + length, 0);
        const seen = Number(query.get("after") ?? -1);
        const answer = () => {
            if (seen >= count()) return false;
            this.#listeners.delete(answer);
            const events = [...this.logs.values()].flatMap((log) => log.slice(-1));
            json(200, { events, cursor: String(count()), more: false, done: false, snapshots: [] });
            return true;
        };
        if (answer()) return;
        this.#listeners.add(answer);
        response.on("close", () => this.#listeners.delete(answer));
    }

    /** Of those that are named, each from its place; or of all, present and to come. */
    #stream(response: ServerResponse, named: readonly [string, string?][] | null): void {
        if (this.faults.refuseStreams !== undefined) {
            response.writeHead(this.faults.refuseStreams, { "content-type": "text/html" }).end("<html>");
            return;
        }
        response.writeHead(200, { "content-type": "text/event-stream" });
        const write = (text: string) => {
            if (this.faults.muteStreams) return;
            const size = this.faults.pieceBytes ?? Infinity;
            const bytes = Buffer.from(text);
            for (let from = 0; from < bytes.length; from += size) response.write(bytes.subarray(from, from + size));
        };
        response.flushHeaders();
        this.#streams.add(response);
        write(": ok\n\n");
        let open = 0;
        const moves = new Set<() => void>();
        const follow = (id: string, asked: string | null) => {
            const log = this.logs.get(id) ?? [];
            const place = this.#place(log, asked);
            let after: number | null = place.after;
            open += 1;
            if (place.recovery === "snapshot") write(`event: recovery\ndata: {"generationId":"${id}","recovery":"snapshot"}\n\n`);
            const move = () => {
                if (after === null) return;
                const update = (event: GenerationEvent) => {
                    const data = JSON.stringify({ ...event, position: this.position(event.sequence) });
                    write(`id: c${event.sequence}\r\ndata: ${data}\r\n\r\n`);
                };
                // What was said before the cut arrives.
                after = this.#deliver(log, after, update, () => response.socket?.destroySoon());
                if (log.at(-1)?.state !== "complete" || after !== log.length) return;
                write(`event: ended\ndata: {"generationId":"${id}"}\n\n`);
                this.#listeners.delete(move);
                open -= 1;
                if (open > 0 || named === null) return;
                write(`retry: 86400000\nevent: done\ndata: {"generationIds":["${id}"]}\n\n`);
                response.end();
            };
            moves.add(move);
            this.#listeners.add(move);
        };
        for (const [id, after] of named ?? []) follow(id, after ?? null);
        const leave = named === null ? this.#followAll(follow) : () => {};
        response.on("close", () => {
            this.#streams.delete(response);
            leave();
            for (const move of moves) this.#listeners.delete(move);
        });
        for (const move of moves) move();
    }

    #page(response: ServerResponse, json: (status: number, body: unknown) => void, log: GenerationEvent[], asked: string | null, waitS: number): void {
        const place = this.#place(log, asked ?? "start");
        let timer: NodeJS.Timeout | undefined;
        const answer = () => {
            clearTimeout(timer);
            this.#listeners.delete(answer);
            const events: GenerationEvent[] = [];
            let after = this.#deliver(log.slice(0, place.after + 5), place.after, (event) => events.push(event), () => response.destroy());
            if (after === null) return;
            // A page's position is that of its last event.
            after = events.at(-1)?.sequence ?? place.after;
            const done = after === log.length && log.at(-1)?.state === "complete";
            json(200, { events, position: this.position(after), more: after < log.length, done, ...(place.recovery === "snapshot" && { recovery: "snapshot" }) });
        };
        if (place.after < log.length || waitS === 0) return answer();
        this.#listeners.add(answer);
        timer = setTimeout(answer, waitS * 1_000);
        response.on("close", () => {
            clearTimeout(timer);
            this.#listeners.delete(answer);
        });
    }
}
