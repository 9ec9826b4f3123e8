// The open generation on its stage: the picture, what is being done, how far it is, and what can be done with it.

import { memo, useEffect, useMemo, useRef } from "react";
import { isTerminal, type Generation, type GenerationEvent } from "@rushes/client";
import type { PlayerSnapshot } from "@rushes/client/player";
import { Fault, sentence } from "../frame/fault.tsx";
import { percent, words } from "../studio/format.ts";
import { stagesOf } from "../studio/stages.ts";
import { useValue } from "../studio/stores.ts";
import { Actions } from "./actions.tsx";
import { AttachLine, Scene } from "./scene.tsx";
import { Screen } from "./screen.tsx";
import { asideOf, headingOf, promptOf, ratioOf, shownOf, waitingOf } from "./shown.ts";
import { Stages } from "./stages.tsx";
import type { Watched } from "./watched.ts";
import "./stage.css";

interface Props {
    readonly watched: Watched;
    readonly isDeleted: boolean;
    readonly onAccepted: (generation: Generation) => void;
    readonly onPlayer: (snapshot: PlayerSnapshot) => void;
}

export const Stage = memo(function Stage({ watched, isDeleted, onAccepted, onPlayer }: Props) {
    const { store, generation, error } = watched;
    // Effects of the player below run before this one.
    useEffect(() => watched.log.open(), [watched.log]);
    const state = useValue(store);
    const shown = shownOf(state, generation);
    const began = useBegan(state.recent);
    const prompt = promptOf(generation);
    const problem = state.error ?? error;
    if (shown === null || isDeleted) {
        return (
            <section className="stage" aria-label="Film">
                <div className="screen" data-showing="waiting" data-over={isDeleted || problem !== null} style={{ "--ratio": 16 / 9 }}>
                    <div className="screen-frame">
                        <p className="screen-word">
                            <strong>{isDeleted ? "This film was deleted" : problem === null ? "Looking for it…" : "There is no such film"}</strong>
                        </p>
                    </div>
                </div>
                <div className="stage-head">
                    <h2 className="stage-state" data-testid="state">{isDeleted ? "Deleted" : problem === null ? "Loading" : "Not found"}</h2>
                    {isDeleted ? (
                        <p className="muted" role="alert">It, its events and its files are gone from the server.</p>
                    ) : (
                        problem !== null && <Fault error={problem} />
                    )}
                </div>
                {prompt !== "" && <p className="stage-prompt muted">{prompt}</p>}
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
                waiting={waitingOf(shown, generation)}
                onPlayer={onPlayer}
                onBroken={watched.look}
            />
            <div className="stage-head">
                <h2 className="stage-state" data-testid="state">{headingOf(shown)}</h2>
                <span className="stage-aside">{asideOf(shown, generation, began.first)}</span>
                {!isOver && (status.state !== "queued" || status.progress > 0) && (
                    <span className="stage-percent" role="progressbar" aria-label="The whole film" aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.floor(status.progress)}>
                        {percent(status.progress)}
                    </span>
                )}
                <Actions event={event} onAccepted={onAccepted} onMissing={watched.look} />
            </div>
            {event.state === "failed" && <Failure event={event} />}
            {event.state !== "complete" && <Stages stages={stagesOf(generation?.pipeline ?? "video", status, began.seen)} status={status} />}
            {prompt !== "" && <p className="stage-prompt">{prompt}</p>}
            <Scene event={event} generation={generation} />
            <AttachLine />
            <Announcer event={event} />
        </section>
    );
});

function Failure({ event }: { readonly event: GenerationEvent }) {
    const { errorCode, errorMessage, errorHint } = event.metadata ?? {};
    return (
        <div className="fault" role="alert">
            <span>{sentence(errorMessage ?? event.message)}</span>
            {errorHint !== undefined && <span className="fault-hint">{sentence(errorHint)}</span>}
            <span className="fault-code">
                {errorCode !== undefined && <code>{errorCode}</code>} <code>{event.generationId}</code>
            </span>
        </div>
    );
}

/** Says each stage and the end once to a screen reader, never each percent. */
function Announcer({ event }: { readonly event: GenerationEvent }) {
    const said = event.state === "running" && event.stage !== undefined ? `${words(event.stage)}.` : event.state === "complete" ? "Your film is ready." : `${words(event.state)}.`;
    return <p className="unseen" role="status" aria-live="polite">{said}</p>;
}

interface Began {
    /** The first event of the work that goes on, of what was seen. */
    readonly first: GenerationEvent | null;
    /** Stages there were. */
    readonly seen: readonly string[];
}

/** What the store's last events, which are bounded, do not hold any more. */
function useBegan(recent: readonly GenerationEvent[]): Began {
    const began = useRef<Began>({ first: null, seen: [] });
    return useMemo(() => {
        let { first, seen } = began.current;
        for (const event of recent) {
            // Another try begins anew, and so does its pace.
            if (event.state !== "running" || event.progress < (first?.progress ?? 0)) first = null;
            else if (first === null || event.sequence < first.sequence) first = event;
            if (event.stage !== undefined && !seen.includes(event.stage)) seen = [...seen, event.stage];
        }
        began.current = { first, seen };
        return began.current;
    }, [recent]);
}
