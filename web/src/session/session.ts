// One person at one server: the client, what it lists, and what is kept for this tab. Made at sign-in, closed at the next one.

import { createContext, useContext } from "react";
import { Rushes } from "@rushes/client";
import { Library } from "../library/library.ts";
import { Positions } from "../studio/positions.ts";
import type { Pass, Person } from "./door.ts";

export interface Session {
    /** The person of a demo; null with a token, whose name only the server knows. */
    readonly person: Person | null;
    readonly client: Rushes;
    readonly library: Library;
    readonly positions: Positions;
}

export function openSession(pass: Pass): Session {
    const client = new Rushes({ url: location.origin, getToken: pass.getToken });
    const person = pass.kind === "demo" ? pass.person : null;
    const positions = new Positions(sessionStorage, person ?? "token");
    return { person, client, positions, library: new Library(client, positions) };
}

export function closeSession(session: Session): void {
    session.client.close();
}

const SessionContext = createContext<Session | null>(null);
export const SessionProvider = SessionContext.Provider;

export function useSession(): Session {
    const session = useContext(SessionContext);
    if (session === null) throw new Error("this part of the page stands outside of a session");
    return session;
}
