// Before the studio: looking who one may be at this server, and asking for a token where nobody is signed in by name.

import { useEffect, useState, type FormEvent, type ReactNode } from "react";
import { RushesError } from "@rushes/client";
import { Fault } from "../frame/fault.tsx";
import { Mark } from "../frame/top-bar.tsx";
import { leave, lookAtDoor, passOfPerson, passOfToken, type Door, type Person } from "./door.ts";
import { closeSession, openSession, SessionProvider, type Session } from "./session.ts";
import "./entrance.css";

/** 1.5 s between two looks at a server that does not answer. */
const LOOK_MS = 1_500;

export interface EntranceActions {
    readonly enterAs: (person: Person) => void;
    /** Asks for a token again; `why` is what is wrong with the one there was. */
    readonly askForToken: (why: string | null) => void;
}

interface Props {
    readonly children: (session: Session, actions: EntranceActions) => ReactNode;
}

export function Entrance({ children }: Props) {
    const [door, setDoor] = useState<Door | null>(null);
    const [error, setError] = useState<RushesError | null>(null);
    const [why, setWhy] = useState<string | null>(null);
    const session = useSessionAt(door);
    useEffect(() => {
        if (door !== null) return;
        let timer: ReturnType<typeof setTimeout> | undefined;
        let isMounted = true;
        const look = () =>
            lookAtDoor().then(
                (found) => isMounted && setDoor(found),
                (fault: unknown) => {
                    if (!isMounted) return;
                    setError(fault instanceof RushesError ? fault : new RushesError("bad_answer", String(fault), false));
                    timer = setTimeout(look, LOOK_MS);
                },
            );
        void look();
        return () => {
            isMounted = false;
            clearTimeout(timer);
        };
    }, [door]);
    if (door === null) return error === null ? null : <Waiting error={error} />;
    if (door.kind === "locked") return <TokenForm why={why} onToken={(token) => setDoor(passOfToken(token))} />;
    if (session === null) return null;
    const askForToken = (reason: string | null) => {
        leave();
        setWhy(reason);
        setDoor({ kind: "locked" });
    };
    return <SessionProvider value={session}>{children(session, { enterAs: (person) => setDoor(passOfPerson(person)), askForToken })}</SessionProvider>;
}

function useSessionAt(door: Door | null): Session | null {
    const [session, setSession] = useState<Session | null>(null);
    useEffect(() => {
        if (door === null || door.kind === "locked") return;
        const opened = openSession(door);
        setSession(opened);
        return () => {
            closeSession(opened);
            setSession(null);
        };
    }, [door]);
    return session;
}

function Waiting({ error }: { readonly error: RushesError }) {
    return (
        <main className="entrance">
            <div className="entrance-card">
                <Mark />
                <h1 data-testid="connection">No answer yet</h1>
                <p data-testid="notice" role="status">
                    The server does not answer. This page looks again by itself.
                </p>
                {error.code !== "unreachable" && <Fault error={error} />}
                <span className="bar" data-unknown="true" aria-hidden="true">
                    <i />
                </span>
            </div>
        </main>
    );
}

function TokenForm({ why, onToken }: { readonly why: string | null; readonly onToken: (token: string) => void }) {
    const [token, setToken] = useState("");
    const submit = (event: FormEvent) => {
        event.preventDefault();
        if (token.trim() !== "") onToken(token.trim());
    };
    return (
        <main className="entrance">
            <form className="entrance-card" onSubmit={submit}>
                <Mark />
                <h1>Sign in with a token</h1>
                {why !== null && <p className="fault" role="alert" data-testid="notice">{why}</p>}
                <label htmlFor="token" className="muted">
                    Where the server's secret is, <code>rushes token --user you</code> prints one. It stays in this tab and goes to this server only.
                </label>
                <textarea
                    id="token"
                    className="field"
                    data-testid="token"
                    rows={4}
                    autoFocus
                    spellCheck={false}
                    autoComplete="off"
                    placeholder="eyJ…"
                    value={token}
                    onChange={(event) => setToken(event.target.value)}
                    onKeyDown={(event) => event.key === "Enter" && submit(event)}
                />
                <button type="submit" className="button primary" disabled={token.trim() === ""}>
                    Continue
                </button>
            </form>
        </main>
    );
}
