// An error of the server, with what to do about it.

import { RushesError } from "@rushes/client";

/** What to do about errors that have no server behind them to say it. */
const HINTS: Readonly<Record<string, string>> = {
    bad_answer: "The server may be of another version than this page: reload it.",
    unreachable: "Try again when it is back: a repeat makes no second film.",
};

export function Fault({ error }: { readonly error: unknown }) {
    const hint = error instanceof RushesError ? (error.hint ?? HINTS[error.code]) : undefined;
    return (
        <div className="fault" role="alert">
            <span>{sentence(error instanceof Error ? error.message : String(error))}</span>
            {hint !== undefined && <span className="fault-hint">{sentence(hint)}</span>}
        </div>
    );
}

/** The server writes fragments without a capital and a stop, as programs like them. */
export function sentence(text: string): string {
    const begun = text.charAt(0).toUpperCase() + text.slice(1);
    return /[.!?…]$/.test(begun) ? begun : `${begun}.`;
}
