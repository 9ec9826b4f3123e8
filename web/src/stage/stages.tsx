// A bar for each stage.

import type { Stage } from "../studio/stages.ts";
import { words } from "../studio/format.ts";
import { CheckIcon } from "../frame/icons.tsx";
import "./stages.css";

interface Props {
    readonly stages: readonly Stage[];
    /** What the running one says of itself. */
    readonly message: string;
}

export function Stages({ stages, message }: Props) {
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
                    <span className="stage-message">{state === "running" ? short(message) : ""}</span>
                </li>
            ))}
        </ol>
    );
}

/** Below a bar there is room for what changes: `22/48` of `Generating frames (22/48)`. */
function short(message: string): string {
    const [, inside] = /\(([^()]+)\)\s*$/.exec(message) ?? [];
    return inside?.replace("/", " of ") ?? message;
}
