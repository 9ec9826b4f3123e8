// Long-poll: the way that gets through everywhere. No hints and no pictures, only events.

import type { Ending } from "./ending.ts";
import type { Http } from "./http.ts";
import type { Outlet, Transport } from "./transport.ts";
import { Turns } from "./turns.ts";
import type { World } from "./world.ts";

/** 4 of the six connections a browser has to a host: the page's own calls need the others. */
const REQUESTS_MAX = 4;

export class PollTransport implements Transport {
    readonly #turns: Turns;
    readonly #outlet: Outlet;
    #isOver = false;

    constructor(ids: Iterable<string>, http: Http, world: World, outlet: Outlet) {
        this.#outlet = outlet;
        this.#turns = new Turns(REQUESTS_MAX, http, world, outlet, (ending) => this.#end(ending));
        for (const id of ids) this.#turns.add(id);
    }

    /** Each look begins at the position, so going back to it is nothing special. */
    join(id: string): void {
        this.#turns.add(id);
    }

    leave(id: string): void {
        this.#turns.remove(id);
    }

    credit(): void {}

    close(): void {
        this.#isOver = true;
        this.#turns.close();
    }

    #end(ending: Ending): void {
        if (this.#isOver) return;
        this.close();
        this.#outlet.ended(ending);
    }
}
