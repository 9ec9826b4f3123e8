// The ways over HTTP, for when no socket gets through. A module of its own, loaded off the critical path.

import type { Http } from "./http.ts";
import type { Rung } from "./ladder.ts";
import { PollTransport } from "./poll.ts";
import { StreamTransport } from "./stream.ts";
import type { Tokens } from "./tokens.ts";
import type { Outlet, Transport } from "./transport.ts";
import type { World } from "./world.ts";

export function openFallback(rung: Rung, ids: Iterable<string>, http: Http, tokens: Tokens, world: World, outlet: Outlet): Transport {
    return rung === "sse" ? new StreamTransport(ids, http, tokens, world, outlet) : new PollTransport(ids, http, world, outlet);
}
