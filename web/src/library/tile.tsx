// One generation, small: live pictures while it runs, its thumbnail afterwards.

import { memo, useState } from "react";
import { isTerminal, type Generation, type GenerationEvent } from "@rushes/client";
import type { PlayerOptions } from "@rushes/client/player";
import { useSession } from "../session/session.ts";
import { promptOf } from "../stage/shown.ts";
import { usePlayer } from "../stage/use-player.ts";
import { ago, percent, words } from "../studio/format.ts";

/** Up to 192 pixels a worker's small pictures are enough; five a second are alive and cheap. */
const OPTIONS: Omit<PlayerOptions, "canvas" | "video"> = { mode: "latest", fps: 5, maxWidth: 192, delivery: "latest" };

interface Props {
    readonly generation: Generation;
    readonly isOpen: boolean;
    readonly now: number;
    readonly onOpen: (generation: Generation) => void;
}

export const Tile = memo(function Tile({ generation, isOpen, now, onOpen }: Props) {
    const { status } = generation;
    const isOver = isTerminal(status.state);
    const prompt = promptOf(generation) || generation.pipeline;
    const thumbnail = status.metadata?.thumbnailUrl;
    const { width, height } = generation.input as { width?: number; height?: number };
    return (
        <button
            type="button"
            className="tile"
            data-testid="tile"
            data-generation={generation.id}
            data-state={status.state}
            aria-current={isOpen ? "true" : undefined}
            aria-label={`${prompt}. ${words(status.state)}`}
            title={prompt}
            onClick={() => onOpen(generation)}
        >
            <span className="tile-picture" data-tall={(height ?? 0) > (width ?? 1)}>
                {!isOver && <LivePicture generation={generation} />}
                {thumbnail !== undefined && <Thumbnail url={thumbnail} />}
                {(status.state === "failed" || status.state === "cancelled") && <span className="tile-end">{words(status.state)}</span>}
                {!isOver && (
                    <span className="tile-bar">
                        <i style={{ "--part": status.progress / 100 }} />
                    </span>
                )}
            </span>
            <span className="tile-prompt">{prompt}</span>
            <span className="tile-said">{isOver ? ago(generation.createdAt, Math.max(now, generation.createdAt)) : said(status)}</span>
        </button>
    );
});

/** Watches for pictures alone; what is said below comes with the list. */
function LivePicture({ generation }: { readonly generation: Generation }) {
    const { library } = useSession();
    const { canvas } = usePlayer(library.store(generation), OPTIONS);
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
            return percent(status.progress);
        default:
            return words(status.state);
    }
}
