// The real server program, in a folder of its own, killed and started again as a test wants.

import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const folder = new URL("../../../target/", import.meta.url).pathname;
const SECRET = "a-secret-of-these-tests-only-and-long-enough";

/** Where the program is built; null when it is not. `RUSHES_PROGRAM` names another one. */
export const PROGRAM = [process.env.RUSHES_PROGRAM, `${folder}debug/rushes`, `${folder}release/rushes`].find((path) => path && existsSync(path)) ?? null;

const environment = { ...process.env, JWT_SECRET: SECRET, RUSHES_LOG_LEVEL: "warn" };

export class Program {
    url = "";
    readonly #folder = mkdtempSync(join(tmpdir(), "rushes-client-"));
    #server: ChildProcess | null = null;
    #worker: ChildProcess | null = null;

    /** Starts the server, on the port it had before. */
    async start(): Promise<this> {
        const listen = this.url === "" ? "127.0.0.1:0" : new URL(this.url).host;
        const server = spawn(PROGRAM as string, ["serve", "--listen", listen, "--data", this.#folder], {
            env: environment,
            cwd: this.#folder,
            stdio: ["ignore", "pipe", "inherit"],
        });
        this.#server = server;
        this.url = await new Promise((resolve, reject) => {
            let said = "";
            server.stdout?.on("data", (piece) => {
                said += String(piece);
                const url = /listens on (\S+)/.exec(said)?.[1];
                if (url) resolve(url);
            });
            server.on("exit", (code) => reject(new Error(`the server ended with ${code}: ${said}`)));
        });
        return this;
    }

    /** Starts a worker that draws films. */
    work(): void {
        this.#worker = spawn(PROGRAM as string, ["worker", "--server", this.url, "--scratch", join(this.#folder, "scratch")], {
            env: { ...environment, RUSHES_TOKEN: this.token("worker") },
            cwd: this.#folder,
            stdio: "ignore",
        });
    }

    /** As a power cut does. */
    async kill(): Promise<void> {
        await end(this.#server);
        this.#server = null;
    }

    token(role = "user"): string {
        const made = execFileSync(PROGRAM as string, ["token", "--user", "tester", "--role", role], { env: environment, cwd: this.#folder });
        return String(made).trim();
    }

    async stop(): Promise<void> {
        await Promise.all([end(this.#server), end(this.#worker)]);
        rmSync(this.#folder, { recursive: true, force: true });
    }
}

async function end(child: ChildProcess | null): Promise<void> {
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
}
