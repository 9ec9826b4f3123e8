// The real program as processes: a demo or a server for others, on a free port and a folder of its own, killed and started
// again as a test wants.

import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const PROGRAM = process.env.STUDIO_PROGRAM ?? join(import.meta.dirname, "../../target/debug/rushes");
const SECRET = "a-secret-of-these-tests-only-and-long-enough";
/** Longer than a start takes on a loaded machine. */
const START_MS = 30_000;

if (!existsSync(PROGRAM)) throw new Error(`${PROGRAM} is missing: run \`cargo build -p rushes\` first`);

export class Program {
    url = "";
    readonly #command: readonly string[];
    readonly #folder = mkdtempSync(join(tmpdir(), "rushes-studio-"));
    readonly #others: ChildProcess[] = [];
    #server: ChildProcess | null = null;

    private constructor(command: readonly string[]) {
        this.#command = command;
    }

    /** Signs in by itself, and has a worker. */
    static demo(...options: string[]): Promise<Program> {
        return new Program(["demo", ...options]).start();
    }

    /** Wants tokens, and has no worker. */
    static serve(...options: string[]): Promise<Program> {
        return new Program(["serve", ...options]).start();
    }

    /** Starts it, on the port and the folder it had before. */
    async start(): Promise<this> {
        const listen = this.url === "" ? "127.0.0.1:0" : new URL(this.url).host;
        const args = [...this.#command, "--listen", listen, "--data", join(this.#folder, "data")];
        const server = spawn(PROGRAM, args, { env: this.#environment(), cwd: this.#folder, stdio: ["ignore", "pipe", "inherit"] });
        this.#server = server;
        this.url = await new Promise((resolve, reject) => {
            let said = "";
            const late = setTimeout(() => reject(new Error(`it says only: ${said}`)), START_MS);
            server.stdout?.on("data", (piece) => {
                said += String(piece);
                // A demo's worker is ready when the banner ends.
                const isReady = this.#command[0] === "serve" || said.includes("Ctrl-C");
                const address = /127\.0\.0\.1:\d+/.exec(said)?.[0];
                if (!isReady || address === undefined) return;
                clearTimeout(late);
                resolve(`http://${address}`);
            });
            server.on("exit", (code) => reject(new Error(`it ended with ${code}: ${said}`)));
        });
        return this;
    }

    /** As a power cut does. */
    async kill(): Promise<void> {
        await end(this.#server);
        this.#server = null;
    }

    /** A worker for a server that has none. */
    work(): void {
        const args = ["worker", "--server", this.url, "--scratch", join(this.#folder, "scratch")];
        const env = { ...this.#environment(), RUSHES_TOKEN: this.token("worker", "worker") };
        this.#others.push(spawn(PROGRAM, args, { env, cwd: this.#folder, stdio: "ignore" }));
    }

    token(user: string, role = "user", ttl = "1h"): string {
        const args = ["token", "--user", user, "--role", role, "--ttl", ttl];
        return String(execFileSync(PROGRAM, args, { env: this.#environment(), cwd: this.#folder })).trim();
    }

    /** The JSON of an answer, asked for as one of the demo's people or with a token. */
    async ask<T>(who: string, path: string, method = "GET", body?: unknown): Promise<T> {
        const token = who.length > 20 ? who : await this.signIn(who);
        const answer = await fetch(this.url + path, {
            method,
            headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
            ...(body !== undefined && { body: JSON.stringify(body) }),
        });
        if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
        return (answer.status === 204 ? null : await answer.json()) as T;
    }

    async signIn(user: string): Promise<string> {
        const answer = await fetch(`${this.url}/v1/demo/sign-in`, { method: "POST", body: JSON.stringify({ user }) });
        return ((await answer.json()) as { token: string }).token;
    }

    async stop(): Promise<void> {
        await Promise.all([this.#server, ...this.#others].map(end));
        rmSync(this.#folder, { recursive: true, force: true });
    }

    /** Options of the server as variables would confuse it; the secret is that of these tests. */
    #environment(): NodeJS.ProcessEnv {
        const own = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("RUSHES_")));
        return { ...own, RUSHES_LOG_LEVEL: "error", ...(this.#command[0] === "serve" && { JWT_SECRET: SECRET }) };
    }
}

async function end(child: ChildProcess | null): Promise<void> {
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
}
