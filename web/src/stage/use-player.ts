// The player of the client, as a component has it: made when its elements are there, stopped when they go.

import { useEffect, useRef, type RefObject } from "react";
import type { GenerationStore } from "@rushes/client";
import { Player, type PlayerOptions, type PlayerSnapshot } from "@rushes/client/player";

export const NOTHING_SHOWN: PlayerSnapshot = { showing: "waiting", index: 0, revision: 0, drawn: 0, dropped: 0, broken: 0 };

type Options = Omit<PlayerOptions, "canvas" | "video">;

interface Played {
    readonly canvas: RefObject<HTMLCanvasElement | null>;
    readonly video: RefObject<HTMLVideoElement | null>;
}

/**
 * `options` count when the player is made; give a constant. `onSnapshot` hears of each picture: who does not need that leaves it
 * out, and is not drawn anew with each.
 */
export function usePlayer(store: GenerationStore, options: Options, onSnapshot?: (snapshot: PlayerSnapshot) => void): Played {
    const canvas = useRef<HTMLCanvasElement>(null);
    const video = useRef<HTMLVideoElement>(null);
    useEffect(() => {
        if (canvas.current === null) return;
        const player = new Player(store, { ...options, canvas: canvas.current, ...(video.current && { video: video.current }) });
        const look = () => onSnapshot?.(player.getSnapshot());
        const leave = player.subscribe(look);
        look();
        return () => {
            leave();
            player.stop();
        };
    }, [store, options, onSnapshot]);
    return { canvas, video };
}
