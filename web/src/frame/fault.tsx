// An error of the server, with what to do about it.

import { RushesError } from "@rushes/client";

export function Fault({ error }: { readonly error: unknown }) {
    const hint = error instanceof RushesError ? error.hint : undefined;
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
