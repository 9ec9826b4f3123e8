// The player of the client, as a component has it: made when its elements are there, stopped when they go.

import { useEffect, useRef, useState, type RefObject } from "react";
import type { GenerationStore } from "@rushes/client";
import { Player, type PlayerOptions, type PlayerSnapshot } from "@rushes/client/player";

export const NOTHING_SHOWN: PlayerSnapshot = { showing: "waiting", index: 0, revision: 0, drawn: 0, dropped: 0, broken: 0 };

type Options = Omit<PlayerOptions, "canvas" | "video">;

interface Played {
    readonly canvas: RefObject<HTMLCanvasElement | null>;
    readonly video: RefObject<HTMLVideoElement | null>;
    readonly snapshot: PlayerSnapshot;
}

/** `options` count when the player is made; give a constant. */
export function usePlayer(store: GenerationStore, options: Options): Played {
    const canvas = useRef<HTMLCanvasElement>(null);
    const video = useRef<HTMLVideoElement>(null);
    const [snapshot, setSnapshot] = useState(NOTHING_SHOWN);
    useEffect(() => {
        if (canvas.current === null) return;
        const player = new Player(store, { ...options, canvas: canvas.current, ...(video.current && { video: video.current }) });
        const look = () => setSnapshot(player.getSnapshot());
        const leave = player.subscribe(look);
        look();
        return () => {
            leave();
            player.stop();
        };
    }, [store, options]);
    return { canvas, video, snapshot };
}
