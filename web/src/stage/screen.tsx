// The picture: previews on a canvas, the film over it, and what is said where there is neither. Remounted for each generation.

import { useEffect, useState } from "react";
import type { GenerationStore } from "@rushes/client";
import type { PlayerOptions, PlayerSnapshot } from "@rushes/client/player";
import { useMedia } from "../studio/stores.ts";
import { FilmBar } from "./film-bar.tsx";
import type { Waiting } from "./shown.ts";
import { NOTHING_SHOWN, usePlayer } from "./use-player.ts";
import "./screen.css";

/**
 * `refine`: the reference renderer sharpens eight pictures at a time, so a loop of what there is shows both, the film growing
 * and its pictures clearing. `all`: the requester wants each revision. 48 pictures of 854 x 480 are 79 MB of bitmaps.
 */
const OPTIONS: Omit<PlayerOptions, "canvas" | "video"> = { mode: "refine", fps: 12, maxWidth: 854, delivery: "all", heldMax: 48 };

interface Props {
    readonly store: GenerationStore;
    readonly ratio: number;
    /** What the film shows, for those who do not see it. */
    readonly description: string;
    readonly poster: string | undefined;
    readonly isOver: boolean;
    /** What stands in the frame until there is a picture. */
    readonly waiting: Waiting | null;
    readonly onPlayer: (snapshot: PlayerSnapshot) => void;
    /** The film is not to be had. */
    readonly onBroken: () => void;
}

export function Screen({ store, ratio, description, poster, isOver, waiting, onPlayer, onBroken }: Props) {
    const [snapshot, setSnapshot] = useState(NOTHING_SHOWN);
    const { canvas, video } = usePlayer(store, OPTIONS, setSnapshot);
    const [film, setFilm] = useState<HTMLVideoElement | null>(null);
    const [isBroken, setIsBroken] = useState(false);
    const isCalm = useMedia("(prefers-reduced-motion: reduce)");
    const isFilm = snapshot.showing === "film";
    useEffect(() => onPlayer(snapshot), [onPlayer, snapshot]);
    useEffect(() => setFilm(video.current), [video]);
    // Whoever wants little motion starts the film by hand.
    useEffect(() => {
        if (isFilm && isCalm) film?.pause();
    }, [film, isFilm, isCalm]);
    return (
        <div className="screen" data-testid="player" data-showing={snapshot.showing} data-over={isOver} style={{ "--ratio": ratio }}>
            {poster !== undefined && <img className="screen-ambience" src={poster} alt="" />}
            {snapshot.showing === "waiting" && poster === undefined && !isOver && <span className="screen-dark" />}
            <div className="screen-frame">
                {poster !== undefined && snapshot.showing === "waiting" && <img className="screen-poster" src={poster} alt="" />}
                <canvas ref={canvas} className="screen-canvas" role="img" aria-label={`Preview: ${description}`} width={16} height={9} />
                <video
                    ref={video}
                    className="screen-film"
                    data-testid="film"
                    aria-label={description}
                    loop={!isCalm}
                    muted
                    playsInline
                    tabIndex={-1}
                    onError={() => {
                        setIsBroken(true);
                        onBroken();
                    }}
                    onClick={() => film !== null && (film.paused ? void film.play() : film.pause())}
                />
                {snapshot.showing === "waiting" && waiting !== null && !isBroken && (
                    <p className="screen-word">
                        <strong>{waiting.title}</strong>
                        {waiting.text}
                    </p>
                )}
                {isBroken && (
                    <p className="screen-word" role="alert">
                        The film cannot be played: its file is gone, or this browser does not play H.264.
                    </p>
                )}
                {snapshot.showing === "previews" && !isOver && (
                    <span className="screen-tag" aria-hidden="true">
                        <i /> Live preview
                    </span>
                )}
            </div>
            {isFilm && film !== null && <FilmBar film={film} />}
        </div>
    );
}
