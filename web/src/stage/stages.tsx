// A bar for each stage.

import type { GenerationEvent } from "@rushes/client";
import type { Stage } from "../studio/stages.ts";
import { words } from "../studio/format.ts";
import { CheckIcon } from "../frame/icons.tsx";
import "./stages.css";

interface Props {
    readonly stages: readonly Stage[];
    readonly status: GenerationEvent;
}

export function Stages({ stages, status }: Props) {
    if (stages.length === 0) return null;
    return (
        <ol className="stages">
            {stages.map(({ name, state, progress }) => (
                <li key={name} className="stage-item" data-testid={`stage-${name}`} data-state={state}>
                    <span className="stage-name">
                        {words(name)}
                        {state === "done" && <CheckIcon />}
                    </span>
                    <span
                        className="bar"
                        role="progressbar"
                        aria-label={words(name)}
                        aria-valuemin={0}
                        aria-valuemax={100}
                        // Without a number a reader says "busy", which is true of a stage of an unknown pipeline.
                        aria-valuenow={progress === null ? undefined : Math.floor(progress)}
                        data-unknown={progress === null && state === "running"}
                    >
                        <i style={{ "--part": (progress ?? 0) / 100 }} />
                    </span>
                    <span className="stage-message" title={state === "running" ? status.message : undefined}>{state === "running" ? detail(status) : ""}</span>
                </li>
            ))}
        </ol>
    );
}

/** Below a bar there is room for what changes; where nothing is counted, for what the server says. */
function detail({ metadata, message }: GenerationEvent): string {
    const { currentFrame, totalFrames } = metadata ?? {};
    return currentFrame !== undefined && totalFrames !== undefined ? `${currentFrame} of ${totalFrames}` : message;
}
