// Where a film is asked for: prompt, examples, size, length, seed. It owns the wish until it is submitted.

import { memo, useCallback, useEffect, useRef, useState, type KeyboardEvent } from "react";
import type { Generation } from "@rushes/client";
import { DiceIcon, EnterIcon } from "../frame/icons.tsx";
import { Fault } from "../frame/fault.tsx";
import { Segmented } from "../frame/segmented.tsx";
import { useSession } from "../session/session.ts";
import { intend, randomKey, type Intent } from "../studio/intents.ts";
import { EXAMPLES, type Example } from "./examples.ts";
import { Examples } from "./examples-row.tsx";
import { problemOf, QUALITIES, rollSeed, SECONDS_MAX, SECONDS_MIN, SHAPES, sizeOf, submissionOf, type Wish } from "./wish.ts";
import "./composer.css";

const BEGIN: Wish = {
    prompt: EXAMPLES[0].prompt,
    shape: "16:9",
    quality: "Standard",
    seconds: 3,
    seed: EXAMPLES[0].seed,
    isSeedKept: false,
};

interface Props {
    readonly onAccepted: (generation: Generation) => void;
}

export const Composer = memo(function Composer({ onAccepted }: Props) {
    const [wish, setWish] = useState(BEGIN);
    const { submit, isSending, error, forgive } = useSubmit(onAccepted, () =>
        setWish((now) => (now.isSeedKept ? now : { ...now, seed: rollSeed() })),
    );
    const field = usePromptKey();
    const change = (changes: Partial<Wish>) => {
        forgive();
        setWish((before) => ({ ...before, ...changes }));
    };
    const start = (example: Example) => {
        const next = { ...wish, prompt: example.prompt, seed: example.seed, isSeedKept: false };
        setWish(next);
        submit(next);
    };
    const onKeyDown = (event: KeyboardEvent) => {
        if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
        event.preventDefault();
        submit(wish);
    };
    const { width, height } = sizeOf(wish.shape, wish.quality);
    return (
        <form
            className="composer"
            aria-label="New film"
            onSubmit={(event) => {
                event.preventDefault();
                submit(wish);
            }}
        >
            <div className="composer-prompt">
                <label className="label" htmlFor="prompt">
                    Prompt <kbd title="Press / to come here">/</kbd>
                </label>
                <textarea
                    id="prompt"
                    ref={field}
                    data-testid="prompt"
                    rows={4}
                    value={wish.prompt}
                    placeholder="A lake at dawn, mist over the water…"
                    onChange={(event) => change({ prompt: event.target.value })}
                    onKeyDown={onKeyDown}
                />
            </div>
            <Examples onStart={start} isBusy={isSending} />
            <div className="composer-settings">
                <Setting label="Format" value={`${width} × ${height}`}>
                    <Segmented label="Format" choices={SHAPES} value={wish.shape} onChange={(shape) => change({ shape })} />
                </Setting>
                <Setting label="Quality">
                    <Segmented label="Quality" choices={QUALITIES} value={wish.quality} onChange={(quality) => change({ quality })} />
                </Setting>
                <Setting label="Length" htmlFor="seconds" value={`${wish.seconds} s`}>
                    <input
                        id="seconds"
                        type="range"
                        className="range"
                        min={SECONDS_MIN}
                        max={SECONDS_MAX}
                        value={wish.seconds}
                        style={{ "--at": `${((wish.seconds - SECONDS_MIN) / (SECONDS_MAX - SECONDS_MIN)) * 100}%` }}
                        aria-valuetext={`${wish.seconds} seconds`}
                        onChange={(event) => change({ seconds: Number(event.target.value) })}
                    />
                </Setting>
                <Setting label="Seed" htmlFor="seed" value={wish.isSeedKept ? "kept" : "new each time"}>
                    <span className="seed">
                        <input
                            id="seed"
                            className="field"
                            inputMode="numeric"
                            autoComplete="off"
                            value={wish.seed}
                            onChange={(event) => change({ seed: event.target.value.trim(), isSeedKept: true })}
                        />
                        <button
                            type="button"
                            className="button icon-button"
                            aria-label="Roll another seed"
                            title="Roll another seed"
                            onClick={() => change({ seed: rollSeed(), isSeedKept: false })}
                        >
                            <DiceIcon />
                        </button>
                    </span>
                </Setting>
            </div>
            <div className="composer-end">
                {error !== null && <Fault error={error} />}
                <button className="button primary" type="submit" data-testid="submit" aria-busy={isSending} title="Enter, or Ctrl + Enter">
                    <span>{isSending ? "Submitting…" : "Generate"}</span>
                    <EnterIcon />
                </button>
            </div>
        </form>
    );
});

function Setting(props: { readonly label: string; readonly htmlFor?: string; readonly value?: string; readonly children: React.ReactNode }) {
    const { label, htmlFor, value, children } = props;
    return (
        <div className="setting">
            <span className="setting-head">
                {htmlFor === undefined ? <span className="label" aria-hidden="true">{label}</span> : <label className="label" htmlFor={htmlFor}>{label}</label>}
                {value !== undefined && <span className="setting-value">{value}</span>}
            </span>
            {children}
        </div>
    );
}

/** Submits a wish: one generation for one click, however often it is clicked. */
function useSubmit(onAccepted: (generation: Generation) => void, onDone: () => void) {
    const { client } = useSession();
    const [isSending, setIsSending] = useState(false);
    const [error, setError] = useState<unknown>(null);
    const intent = useRef<Intent | null>(null);
    const submit = useCallback(
        async (wish: Wish) => {
            const problem = problemOf(wish);
            if (problem !== null) return setError(new Error(problem));
            const submission = submissionOf(wish);
            // The seed that is rolled for the next film makes no other intent of the second half of a double click.
            const { seed, ...params } = submission.params ?? {};
            const own = intend(intent.current, JSON.stringify([submission.prompt, params, wish.isSeedKept && seed]), Date.now(), randomKey);
            if (own === null) return;
            intent.current = own;
            setIsSending(true);
            setError(null);
            const settle = (state: "answered" | "failed") => (intent.current = { ...own, state, at: Date.now() });
            try {
                const { generation } = await client.submit(submission, { idempotencyKey: own.key });
                settle("answered");
                onAccepted(generation);
                onDone();
            } catch (fault) {
                settle("failed");
                setError(fault);
            } finally {
                setIsSending(false);
            }
        },
        [client, onAccepted, onDone],
    );
    return { submit, isSending, error, forgive: () => setError(null) };
}

/** `/` goes to the prompt from wherever nothing is typed. */
function usePromptKey() {
    const field = useRef<HTMLTextAreaElement>(null);
    useEffect(() => {
        const hear = (event: globalThis.KeyboardEvent) => {
            const isTyping = event.target instanceof Element && event.target.closest("input:not([type=radio],[type=range]), textarea, dialog") !== null;
            if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
            event.preventDefault();
            field.current?.focus();
            field.current?.select();
        };
        addEventListener("keydown", hear);
        return () => removeEventListener("keydown", hear);
    }, []);
    return field;
}
