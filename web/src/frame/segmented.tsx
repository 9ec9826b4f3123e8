// A few choices of which one holds, as radio buttons that look like one control.

import { useId } from "react";

interface Props<T extends string> {
    readonly label: string;
    readonly choices: readonly T[];
    readonly value: T;
    readonly onChange: (value: T) => void;
    /** What is shown for a choice, unless it is its own name. */
    readonly text?: (choice: T) => string;
    readonly testId?: string;
    /** A test id for each choice. */
    readonly choiceTestId?: (choice: T) => string;
}

export function Segmented<T extends string>({ label, choices, value, onChange, text, testId, choiceTestId }: Props<T>) {
    const name = useId();
    return (
        <fieldset className="segmented" data-testid={testId}>
            <legend className="unseen">{label}</legend>
            {choices.map((choice) => (
                <label key={choice} className="segment" data-testid={choiceTestId?.(choice)}>
                    <input type="radio" name={name} checked={choice === value} onChange={() => onChange(choice)} />
                    <span>{text?.(choice) ?? choice}</span>
                </label>
            ))}
        </fieldset>
    );
}
