// A part of the page that throws is replaced by a sentence and a way to go on; the other parts stay.

import { Component, type ErrorInfo, type ReactNode } from "react";

interface Props {
    /** What this part is, in words: "The list". */
    readonly part: string;
    readonly children: ReactNode;
}

export class ErrorBoundary extends Component<Props, { readonly error: unknown }> {
    override state: { readonly error: unknown } = { error: null };

    static getDerivedStateFromError(error: unknown) {
        return { error: error ?? new Error("something was thrown that says nothing") };
    }

    override componentDidCatch(error: unknown, info: ErrorInfo) {
        console.error(this.props.part, error, info.componentStack);
    }

    override render() {
        const { error } = this.state;
        if (error === null) return this.props.children;
        return (
            <section className="broken" role="alert">
                <strong>{this.props.part} stopped working.</strong>
                <p>That is a mistake of this page; your films are not touched by it. {error instanceof Error ? error.message : String(error)}</p>
                <button className="button" type="button" onClick={() => this.setState({ error: null })}>
                    Show it again
                </button>
            </section>
        );
    }
}
