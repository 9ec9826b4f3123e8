// The open generation on its stage: the picture, what is being done, how far it is, and what can be done with it.

import { useEffect, useMemo, useRef, useState } from "react";
import { isTerminal, type Generation, type GenerationEvent } from "@rushes/client";
import type { PlayerSnapshot } from "@rushes/client/player";
import { Fault } from "../frame/fault.tsx";
import { percent, words } from "../studio/format.ts";
import { stagesOf } from "../studio/stages.ts";
import { useValue } from "../studio/stores.ts";
import { Actions } from "./actions.tsx";
import { Scene } from "./scene.tsx";
import { Screen } from "./screen.tsx";
import { asideOf, headingOf, promptOf, ratioOf, shownOf, type Shown } from "./shown.ts";
import { Stages } from "./stages.tsx";
import type { Watched } from "./watched.ts";
import "./stage.css";

interface Props {
    readonly watched: Watched;
    readonly onAccepted: (generation: Generation) => void;
    readonly onPlayer: (snapshot: PlayerSnapshot) => void;
}

export function Stage({ watched, onAccepted, onPlayer }: Props) {
    const { store, generation, error } = watched;
    const state = useValue(store);
    const shown = shownOf(state, generation);
    const began = useBegan(state.recent);
    const prompt = promptOf(generation);
    const isGone = state.phase === "gone";
    const problem = state.error ?? error;
    if (shown === null || isGone) {
        return (
            <section className="stage" aria-label="Film">
                <div className="screen" style={{ "--ratio": 16 / 9 }}>
                    <div className="screen-frame">
                        <p className="screen-word">{isGone ? "This film was deleted." : problem === null ? "Looking for it…" : "There is no such film."}</p>
                    </div>
                </div>
                <div className="stage-head">
                    <h2 className="stage-state" data-testid="state">{isGone ? "Deleted" : problem === null ? "Loading" : "Not found"}</h2>
                    {isGone ? <p className="muted">It, its events and its files are gone from the server.</p> : problem !== null && <Fault error={problem} />}
                </div>
            </section>
        );
    }
    const { status, event } = shown;
    const isOver = isTerminal(event.state);
    return (
        <section className="stage" aria-label="Film" data-state={event.state}>
            <Screen
                key={store.id}
                store={store}
                ratio={ratioOf(generation)}
                description={prompt || "film"}
                poster={event.metadata?.thumbnailUrl}
                isOver={isOver}
                waiting={waitingWord(shown)}
                onPlayer={onPlayer}
            />
            <div className="stage-head">
                <h2 className="stage-state" data-testid="state">{headingOf(shown)}</h2>
                <span className="stage-aside">{asideOf(shown, generation, began.startedAt)}</span>
                {!isOver && <output className="stage-percent" aria-label="Overall">{percent(status.progress)}</output>}
                <Actions event={event} onAccepted={onAccepted} />
            </div>
            {event.state === "failed" && <Failure event={event} />}
            {event.state !== "complete" && <Stages stages={stagesOf(generation?.pipeline ?? "video", status, began.seen)} message={status.message} />}
            {prompt !== "" && <p className="stage-prompt">{prompt}</p>}
            <Scene event={event} generation={generation} />
            <Announcer event={event} />
        </section>
    );
}

function waitingWord({ status }: Shown): string | null {
    switch (status.state) {
        case "queued":
            return "In the queue. The first frames come as soon as a worker is free.";
        case "running":
            return status.stage === "prompt_analysis" || status.stage === undefined ? "Reading the prompt…" : "The first frames are on their way…";
        case "cancelling":
            return "Stopping…";
        case "cancelled":
            return "Cancelled before there was a picture.";
        case "failed":
            return "No film came of it.";
        case "complete":
            return status.metadata?.videoUrl === undefined ? "Finished, and it made no film." : null;
    }
}

function Failure({ event }: { readonly event: GenerationEvent }) {
    const { errorCode, errorMessage, errorHint } = event.metadata ?? {};
    return (
        <div className="fault" role="alert">
            <span>{errorMessage ?? event.message}</span>
            {errorHint !== undefined && <span className="fault-hint">{errorHint}</span>}
            {errorCode !== undefined && <code>{errorCode}</code>}
        </div>
    );
}

/** Says each stage and the end once to a screen reader, never each percent. */
function Announcer({ event }: { readonly event: GenerationEvent }) {
    const said = event.state === "running" && event.stage !== undefined ? `${words(event.stage)}.` : event.state === "complete" ? "Your film is ready." : `${words(event.state)}.`;
    return <p className="unseen" role="status" aria-live="polite">{said}</p>;
}

/** When work began and which stages there were, of what was seen since this generation is open. */
function useBegan(recent: readonly GenerationEvent[]): { readonly startedAt: number | null; readonly seen: readonly string[] } {
    const seen = useRef<string[]>([]);
    const [startedAt, setStartedAt] = useState<number | null>(null);
    const first = recent.find(({ type }) => type === "stage_started");
    useEffect(() => {
        if (first !== undefined) setStartedAt((before) => before ?? first.timestamp);
    }, [first]);
    const names = useMemo(() => {
        for (const { stage } of recent) if (stage !== undefined && !seen.current.includes(stage)) seen.current = [...seen.current, stage];
        return seen.current;
    }, [recent]);
    return { startedAt, seen: names };
}
