// "Under the hood": how events reach this page, and two ways to disturb them.

import { useLayoutEffect, useRef } from "react";
import type { Connection, ConnectionSnapshot, GenerationState, Rung } from "@rushes/client";
import type { PlayerSnapshot } from "@rushes/client/player";
import { CloseIcon, ScissorsIcon } from "../frame/icons.tsx";
import { Segmented } from "../frame/segmented.tsx";
import { useSession } from "../session/session.ts";
import type { Watched } from "../stage/watched.ts";
import { count, milliseconds } from "../studio/format.ts";
import { clocksDiffer, quantile, type EventLog } from "../studio/event-log.ts";
import { useValue } from "../studio/stores.ts";
import { EventRows } from "./event-rows.tsx";
import "./drawer.css";

const RUNGS = ["websocket", "sse", "poll"] as const;
const NAMES: Readonly<Record<Rung, string>> = { websocket: "WebSocket", sse: "SSE", poll: "Long-poll" };
const TEST_IDS: Readonly<Record<Rung, string>> = { websocket: "use-websocket", sse: "use-sse", poll: "use-longpoll" };

interface Props {
    readonly watched: Watched | null;
    readonly isDeleted: boolean;
    readonly player: PlayerSnapshot;
    readonly onCut: () => void;
    readonly onUse: (rung: Rung) => void;
    readonly onClose: () => void;
}

export function Drawer({ watched, isDeleted, player, onCut, onUse, onClose }: Props) {
    const { client } = useSession();
    const drawer = useRef<HTMLElement>(null);
    // Whoever was in it goes on where it was opened.
    useLayoutEffect(() => {
        const own = drawer.current;
        return () => {
            if (own?.contains(document.activeElement)) document.querySelector<HTMLElement>(".drawer-toggle")?.focus();
        };
    }, []);
    return (
        <aside ref={drawer} className="drawer" data-testid="drawer" aria-label="Under the hood">
            <header className="drawer-head">
                <h2>Under the hood</h2>
                <button type="button" className="button icon-button quiet" aria-label="Close" title="Esc" onClick={onClose}>
                    <CloseIcon />
                </button>
            </header>
            <Ways connection={client.connection} onCut={onCut} onUse={onUse} />
            {isDeleted && <p className="drawer-note" role="status">This film was deleted. Below stands what this page heard of it before.</p>}
            {watched === null ? <p className="muted drawer-empty">Generate or open a film: its events appear here as they are committed.</p> : <Inside watched={watched} player={player} />}
        </aside>
    );
}

/** The transport in use, the choice of another one, and the scissors. */
function Ways({ connection, onCut, onUse }: Pick<Props, "onCut" | "onUse"> & { readonly connection: Connection }) {
    const { transport, state } = useValue(connection);
    const isConnected = state === "live" || state === "catching_up" || state === "polling";
    return (
        <div className="ways">
            <Segmented
                label="Transport"
                choices={RUNGS}
                value={transport}
                text={(rung) => NAMES[rung]}
                choiceTestId={(rung) => TEST_IDS[rung]}
                onChange={onUse}
            />
            <button type="button" className="button" data-testid="cut" disabled={!isConnected} onClick={onCut}>
                <ScissorsIcon /> Cut my connection
            </button>
        </div>
    );
}

function Inside({ watched, player }: { readonly watched: Watched; readonly player: PlayerSnapshot }) {
    const { client } = useSession();
    const connection = useValue(client.connection);
    const { transport } = connection;
    const state = useValue(watched.store);
    const log = useValue(watched.log);
    return (
        <>
            <Latency log={log} />
            <dl className="facts">
                <Fact name="Transport" testId="transport" value={`${NAMES[transport]}${closedWhy(connection)}`} />
                <Fact name="Position" testId="position" value={state.position ?? "none yet"} isCode />
                <Fact name="Events" value={`${state.counts.events}`} />
                <Fact name="Repeats dropped" value={`${state.counts.repeats}`} />
                <Fact name="Holes refilled" value={`${state.counts.holes}`} />
                {state.counts.snapshots > 0 && <Fact name="Snapshots" value={`${state.counts.snapshots}`} />}
                <Fact name="Pictures" value={pictures(player)} />
            </dl>
            {clocksDiffer(log.samples) && <p className="drawer-note">The clocks of this machine and the server differ, so milliseconds are only comparable with each other.</p>}
            <Refill log={log} state={state} />
            <EventRows rows={log.rows} />
        </>
    );
}

function closedWhy({ state, retryAt, error }: ConnectionSnapshot): string {
    if (state !== "offline") return "";
    return retryAt === null && error === null ? " (closed: nothing to watch)" : " (no answer)";
}

interface FactProps {
    readonly name: string;
    readonly value: string;
    readonly testId?: string;
    readonly title?: string;
    readonly isCode?: boolean;
}

function Fact({ name, value, testId, title, isCode = false }: FactProps) {
    return (
        <div title={title}>
            <dt>{name}</dt>
            <dd data-testid={testId} className={isCode ? "code" : undefined}>{value}</dd>
        </div>
    );
}

/** From the time in the event, by the server's clock, to the frame that shows it, by this machine's. */
function Latency({ log: { samples } }: { readonly log: EventLog }) {
    const figures = [["last", samples.at(-1)], ["median", quantile(samples, 0.5)], ["95 %", quantile(samples, 0.95)]] as const;
    return (
        <div className="latency" title="From the time in the event, by the server's clock, to the frame that shows it, by this machine's clock.">
            <span className="latency-name">Commit to screen</span>
            <dl>
                {figures.map(([name, value]) => (
                    <div key={name}>
                        <dd>{value === undefined || value === null ? "–" : milliseconds(value)}</dd>
                        <dt>{name}</dt>
                    </div>
                ))}
            </dl>
        </div>
    );
}

function pictures({ drawn, dropped, broken, index, revision }: PlayerSnapshot): string {
    if (drawn === 0) return "none yet";
    const bad = broken > 0 ? ` · ${broken} not decodable` : "";
    return `${drawn} drawn, ${dropped} skipped${bad} · frame ${index}, pass ${revision + 1}`;
}

/** What the gap held. Counted, so that nobody has to believe it. */
function Refill({ log, state }: { readonly log: EventLog; readonly state: GenerationState }) {
    if (log.refilled === null) return null;
    const isDense = log.rows.every(({ event }, at) => at === 0 || event.sequence === (log.rows[at - 1]?.event.sequence ?? 0) + 1);
    return (
        <p className="refill" role="status">
            <strong>{count(log.refilled, "event")} refilled</strong> after the gap{isDense ? `, in order: ${log.rows[0]?.event.sequence} to ${state.event?.sequence ?? log.sequence} without a hole.` : "."}
        </p>
    );
}
