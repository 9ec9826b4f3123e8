// "My generations": a tile for each, newest first.

import { memo, useCallback } from "react";
import type { Generation } from "@rushes/client";
import { Fault } from "../frame/fault.tsx";
import { useSession } from "../session/session.ts";
import { goTo } from "../studio/address.ts";
import { useNow, useValue } from "../studio/stores.ts";
import { Tile } from "./tile.tsx";
import "./tiles.css";

/** How long ago a film was made is said in minutes. */
const MINUTE_MS = 60_000;

interface Props {
    /** The generation that is open. */
    readonly open: string | null;
    readonly onOpened: () => void;
}

export const Tiles = memo(function Tiles({ open, onOpened }: Props) {
    const { library } = useSession();
    const { generations, phase, hasMore, error } = useValue(library);
    const now = useNow(true, MINUTE_MS);
    const isLoading = phase === "loading" && generations.length === 0 && error === null;
    const onOpen = useCallback(
        (generation: Generation) => {
            goTo(generation.id);
            onOpened();
        },
        [onOpened],
    );
    return (
        <section className="library" aria-label="My generations" data-testid="my-generations">
            <h2 className="section-title">
                My generations {generations.length > 0 && <span className="muted">{generations.length}{hasMore && "+"}</span>}
            </h2>
            {error !== null && <Fault error={error} />}
            {generations.length === 0 && !isLoading && error === null && <p className="muted">Nothing yet. What you generate stays here, and only you see it.</p>}
            <ul className="tiles">
                {isLoading && [0, 1, 2, 3].map((place) => <li key={place} className="tile-ghost" aria-hidden="true" />)}
                {generations.map((generation) => (
                    <li key={generation.id}>
                        <Tile now={now} generation={generation} isOpen={generation.id === open} onOpen={onOpen} />
                    </li>
                ))}
            </ul>
            {hasMore && (
                <button type="button" className="button" onClick={() => library.more()}>
                    Show more
                </button>
            )}
        </section>
    );
});
