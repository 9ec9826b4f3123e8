// Looking at many generations with few requests at a time: each gets its turn. A browser has six connections to a host, and
// the page needs some of them.

import { endingOfError, type Ending } from "./ending.ts";
import type { RushesError } from "./errors.ts";
import { pause, within, type Http } from "./http.ts";
import { isFinal, page } from "./pages.ts";
import type { Outlet } from "./transport.ts";
import type { World } from "./world.ts";

export class Turns {
    readonly #requests: number;
    readonly #http: Http;
    readonly #world: World;
    readonly #outlet: Outlet;
    readonly #end: (ending: Ending) => void;
    /** Those that wait for their turn, in order. */
    readonly #waiting: string[] = [];
    /** Those that are being looked at. */
    readonly #running = new Map<string, AbortController>();
    #isOver = false;

    constructor(requests: number, http: Http, world: World, outlet: Outlet, end: (ending: Ending) => void) {
        this.#requests = requests;
        this.#http = http;
        this.#world = world;
        this.#outlet = outlet;
        this.#end = end;
    }

    has(id: string): boolean {
        return this.#running.has(id) || this.#waiting.includes(id);
    }

    add(id: string): void {
        if (this.#isOver || this.has(id)) return;
        this.#waiting.push(id);
        this.#fill();
    }

    remove(id: string): void {
        const at = this.#waiting.indexOf(id);
        if (at >= 0) this.#waiting.splice(at, 1);
        this.#running.get(id)?.abort();
        this.#running.delete(id);
        this.#fill();
    }

    close(): void {
        this.#isOver = true;
        this.#waiting.length = 0;
        for (const stop of this.#running.values()) stop.abort();
        this.#running.clear();
    }

    #fill(): void {
        while (!this.#isOver && this.#running.size < this.#requests) {
            const id = this.#waiting.shift();
            if (id === undefined) return;
            const stop = new AbortController();
            this.#running.set(id, stop);
            void this.#look(id, stop);
        }
    }

    /** Looks until others wait, or it is over. */
    async #look(id: string, stop: AbortController): Promise<void> {
        const { pollMs, turnMs, openMs } = this.#world.timing;
        try {
            for (;;) {
                const wanted = this.#outlet.wanted(id);
                if (wanted === null) break;
                const waitMs = this.#waiting.length === 0 ? pollMs : 0;
                const deadline = within(this.#world, waitMs + openMs, stop.signal);
                const asked = page(this.#http, id, wanted, waitMs, this.#outlet, deadline.signal);
                const more = await asked.finally(deadline.stop);
                if (stop.signal.aborted || this.#isOver) return;
                if (!more && (this.#waiting.length > 0 || waitMs === 0)) {
                    await pause(this.#world, turnMs / Math.max(1, this.#waiting.length), stop.signal);
                    if (this.#waiting.length > 0) break;
                }
            }
        } catch (error) {
            if (stop.signal.aborted || this.#isOver) return;
            const told = error as RushesError;
            if (!isFinal(told)) return this.#end(endingOfError(told));
            // Asking again would be refused again, at once and without end; who wants it anew joins it.
            this.#running.delete(id);
            this.#outlet.heard(id, { kind: "refused", error: told });
            return this.#fill();
        }
        this.#running.delete(id);
        if (this.#outlet.wanted(id) !== null) this.#waiting.push(id);
        this.#fill();
    }
}
