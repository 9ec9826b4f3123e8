// One generation, small: live pictures while it runs, its thumbnail afterwards.

import { useEffect, useState } from "react";
import { isTerminal, type Generation, type GenerationEvent, type GenerationStore } from "@rushes/client";
import type { PlayerOptions } from "@rushes/client/player";
import { useSession } from "../session/session.ts";
import { promptOf } from "../stage/shown.ts";
import { usePlayer } from "../stage/use-player.ts";
import { ago, percent, words } from "../studio/format.ts";
import { useValue } from "../studio/stores.ts";

/** Up to 192 pixels a worker's small pictures are enough; five a second are alive and cheap. */
const OPTIONS: Omit<PlayerOptions, "canvas" | "video"> = { mode: "latest", fps: 5, maxWidth: 192, delivery: "latest" };

interface Props {
    readonly generation: Generation;
    readonly isOpen: boolean;
    readonly onOpen: (generation: Generation) => void;
}

export function Tile(props: Props) {
    const { library } = useSession();
    const store = library.store(props.generation);
    const { event, hint, phase } = useValue(store);
    useEffect(() => {
        if (phase === "gone") library.remove(store.id);
    }, [library, phase, store]);
    return <TileFace {...props} store={store} status={hint ?? event ?? props.generation.status} />;
}

function TileFace({ generation, isOpen, onOpen, store, status }: Props & { readonly store: GenerationStore; readonly status: GenerationEvent }) {
    const isOver = isTerminal(status.state);
    const prompt = promptOf(generation) || generation.pipeline;
    const thumbnail = status.metadata?.thumbnailUrl;
    const { width, height } = generation.input as { width?: number; height?: number };
    const isTall = (height ?? 0) > (width ?? 1);
    return (
        <button
            type="button"
            className="tile"
            data-testid="tile"
            data-generation={generation.id}
            data-state={status.state}
            aria-current={isOpen ? "true" : undefined}
            aria-label={`${prompt}. ${said(status)}`}
            title={prompt}
            onClick={() => onOpen(generation)}
        >
            <span className="tile-picture" data-tall={isTall}>
                {!isOver && <LivePicture store={store} />}
                {thumbnail !== undefined && <Thumbnail url={thumbnail} />}
                {status.state === "failed" || status.state === "cancelled" ? <span className="tile-end">{words(status.state)}</span> : null}
                {!isOver && (
                    <span className="tile-bar">
                        <i style={{ "--part": status.progress / 100 }} />
                    </span>
                )}
            </span>
            <span className="tile-prompt">{prompt}</span>
            <span className="tile-said">{isOver ? ago(generation.createdAt, Date.now()) : said(status)}</span>
        </button>
    );
}

function LivePicture({ store }: { readonly store: GenerationStore }) {
    const { canvas } = usePlayer(store, OPTIONS);
    return <canvas ref={canvas} className="tile-live" width={16} height={9} />;
}

function Thumbnail({ url }: { readonly url: string }) {
    const [isThere, setIsThere] = useState(true);
    return isThere ? <img src={url} alt="" loading="lazy" decoding="async" onError={() => setIsThere(false)} /> : null;
}

function said(status: GenerationEvent): string {
    switch (status.state) {
        case "queued":
            return "Queued";
        case "running":
            return `${status.stage === undefined ? "Running" : words(status.stage)} · ${percent(status.progress)}`;
        default:
            return words(status.state);
    }
}
