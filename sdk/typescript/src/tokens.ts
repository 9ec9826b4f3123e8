// The token in use. Asked for once, and again only when the server refused it; many that ask share one answer.

import { RushesError } from "./errors.ts";

/** Gives a token; called again when the one before was refused. */
export type GetToken = () => string | Promise<string>;

export class Tokens {
    readonly #getToken: GetToken | undefined;
    #asked: Promise<string | null> | null = null;
    /** Given last. */
    #last: string | null = null;
    /** Given last when the server said no; "" stands for having sent none. */
    #refused: string | null = null;

    constructor(getToken: GetToken | undefined) {
        this.#getToken = getToken;
    }

    /** The token, or null where none is used. Rejects with `unauthorized` when there is no other than the refused one. */
    get(): Promise<string | null> {
        const asked = (this.#asked ??= this.#ask());
        asked.catch(() => {
            if (this.#asked === asked) this.#asked = null;
        });
        return asked;
    }

    /** The server does not take this one. */
    refuse(token: string | null): void {
        // Somebody else said so already, and a new one is on its way.
        if (token !== this.#last) return;
        this.#refused = token ?? "";
        this.#asked = null;
    }

    /** The next `get` asks, and takes what it gets. */
    forgive(): void {
        this.#refused = null;
        this.#asked = null;
    }

    async #ask(): Promise<string | null> {
        let token: string;
        if (this.#getToken === undefined) {
            if (this.#refused === null) return null;
            throw new RushesError("unauthorized", "the server wants a token: give `getToken`", false);
        }
        try {
            token = await this.#getToken();
        } catch (cause) {
            throw cause instanceof RushesError ? cause : new RushesError("token", "`getToken` failed", true, { cause });
        }
        this.#last = token;
        if (token === this.#refused) {
            throw new RushesError("unauthorized", "`getToken` gave the refused one", false);
        }
        return token;
    }
}
