// Lines to be taken along.

import { useState } from "react";

interface Props {
    readonly label: string;
    readonly text: string;
}

export function Copyable({ label, text }: Props) {
    const [isCopied, setIsCopied] = useState(false);
    const copy = async () => {
        try {
            await navigator.clipboard.writeText(text);
            setIsCopied(true);
            setTimeout(() => setIsCopied(false), 1_500);
        } catch {
            // Without https a page may not: the lines can still be selected by hand.
            setIsCopied(false);
        }
    };
    return (
        <figure className="copyable">
            <figcaption>
                {label}
                {isSecureContext && (
                    <button type="button" className="link" onClick={() => void copy()}>
                        {isCopied ? "Copied" : "Copy"}
                    </button>
                )}
            </figcaption>
            <pre tabIndex={0}>
                <code>{text}</code>
            </pre>
        </figure>
    );
}
