// Play, seek, full screen: the film's own controls. The film's element keeps the state; here it is only shown.

import { useCallback, useEffect, useState, useSyncExternalStore } from "react";
import { ExpandIcon, PauseIcon, PlayIcon } from "../frame/icons.tsx";
import { clock } from "../studio/format.ts";

const EVENTS = ["play", "pause", "timeupdate", "seeked", "durationchange", "ended"] as const;
/** A film of seconds moves visibly between two of the browser's four `timeupdate`s a second. */
const STEP = 0.01;

export function FilmBar({ film }: { readonly film: HTMLVideoElement }) {
    const isPaused = useFilm(film, () => film.paused);
    const at = useFilmTime(film);
    const length = useFilm(film, () => (Number.isFinite(film.duration) ? film.duration : 0));
    const toggle = useCallback(() => (film.paused ? void film.play() : film.pause()), [film]);
    useToggleKey(toggle);
    return (
        <div className="film-bar" role="group" aria-label="Film">
            <button type="button" className="film-button" aria-label={isPaused ? "Play" : "Pause"} title="Space" onClick={toggle}>
                {isPaused ? <PlayIcon /> : <PauseIcon />}
            </button>
            <input
                type="range"
                className="range film-seek"
                aria-label="Seek"
                aria-valuetext={`${clock(at)} of ${clock(length)}`}
                min={0}
                max={length || 1}
                step={STEP}
                value={Math.min(at, length)}
                style={{ "--at": `${length > 0 ? (at / length) * 100 : 0}%` }}
                onChange={(event) => (film.currentTime = Number(event.target.value))}
            />
            <span className="film-time">
                {clock(at)} / {clock(length)}
            </span>
            <button type="button" className="film-button" aria-label="Full screen" onClick={() => void film.requestFullscreen?.()}>
                <ExpandIcon />
            </button>
        </div>
    );
}

function useFilm<T>(film: HTMLVideoElement, read: () => T): T {
    const subscribe = useCallback(
        (listener: () => void) => {
            for (const name of EVENTS) film.addEventListener(name, listener);
            return () => EVENTS.forEach((name) => film.removeEventListener(name, listener));
        },
        [film],
    );
    return useSyncExternalStore(subscribe, read);
}

/** Where it is, at the screen's pace while it plays. */
function useFilmTime(film: HTMLVideoElement): number {
    const [at, setAt] = useState(film.currentTime);
    useEffect(() => {
        let frame = 0;
        const look = () => {
            setAt(film.currentTime);
            frame = requestAnimationFrame(look);
        };
        look();
        return () => cancelAnimationFrame(frame);
    }, [film]);
    return at;
}

/** The space bar plays and pauses where it does nothing else. */
function useToggleKey(toggle: () => void) {
    useEffect(() => {
        const hear = (event: KeyboardEvent) => {
            const isUsed = event.target instanceof Element && event.target.closest("input, textarea, button, a, summary, dialog") !== null;
            if (event.key !== " " || isUsed) return;
            event.preventDefault();
            toggle();
        };
        addEventListener("keydown", hear);
        return () => removeEventListener("keydown", hear);
    }, [toggle]);
}
