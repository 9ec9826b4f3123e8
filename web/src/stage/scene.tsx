// What was asked for and what the worker understood of it, as small facts; and plainly, what the reference renderer is.

import { useState } from "react";
import type { Generation, GenerationEvent } from "@rushes/client";
import { Attach } from "./attach.tsx";
import { sceneOf } from "./shown.ts";

interface Props {
    readonly event: GenerationEvent;
    readonly generation: Generation | null;
}

export function Scene({ event, generation }: Props) {
    const scene = sceneOf(event);
    const { width, height, seconds, seed } = generation?.input ?? {};
    const facts = [
        typeof width === "number" && typeof height === "number" ? `${width} × ${height}` : null,
        typeof seconds === "number" ? `${seconds} s` : null,
        typeof seed === "number" ? `seed ${seed}` : null,
    ].filter((fact) => fact !== null);
    return (
        <div className="scene">
            {scene !== null && (
                <ul className="chips" aria-label="Scene">
                    {scene.understood.map((word) => (
                        <li key={`said ${word}`} className="chip" title="A word of your prompt that was understood">{word}</li>
                    ))}
                    {scene.chosen.map((word) => (
                        <li key={word} className="chip plain" title="Chosen by the seed, because the prompt leaves it open">{word}</li>
                    ))}
                </ul>
            )}
            {facts.length > 0 && <p className="scene-facts">{facts.join(" · ")}</p>}
        </div>
    );
}

/** The sentence that keeps the demo honest. */
export function AttachLine() {
    const [isOpen, setIsOpen] = useState(false);
    return (
        <p className="attach-line">
            The reference renderer draws scenes from words it knows and does not understand prompts.{" "}
            <button type="button" className="link" onClick={() => setIsOpen(true)}>
                Attach your model →
            </button>
            {isOpen && <Attach onClose={() => setIsOpen(false)} />}
        </p>
    );
}
