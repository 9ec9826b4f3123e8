// Previews on a canvas, and the film when it is there. A thin shell around `schedule.ts`: it decodes, draws and closes, and
// asks for nothing while nobody can see it.

import type { Frame } from "../frame.ts";
import type { Delivery, FrameWish } from "../live.ts";
import type { FrameSubscription, GenerationStore } from "../store.ts";
import { enqueue } from "./backlog.ts";
import { openDecoder, type Decoder } from "./decoder.ts";
import { filmTime } from "./film.ts";
import { beginSchedule, due, endSchedule, offer, tick, wants, type Mode, type Schedule, type Step } from "./schedule.ts";

/** 2 at once keep a worker busy; more would only finish out of order. */
const DECODING_MAX = 2;

/** What came last of each generation, to whichever player: one that comes late, or into view when no more comes, begins with it. */
const LATEST = new WeakMap<GenerationStore, Frame>();

export interface PlayerOptions {
    /** Where the previews are drawn. */
    readonly canvas: HTMLCanvasElement;
    /** Where the film goes; without it the last preview stays. It lies over the canvas and is shown when it can play. */
    readonly video?: HTMLVideoElement;
    /**
     * Where the server is, for a page that it did not serve: a server without a public address links to films by path. The
     * page's own address unless said otherwise.
     */
    readonly base?: string | URL;
    /** `progressive` unless said otherwise. */
    readonly mode?: Mode;
    /** Pictures a second, 1 to 60; 12 unless said otherwise. */
    readonly fps?: number;
    /** Pixels; 854 unless said otherwise. */
    readonly maxWidth?: number;
    /** `all` asks for each picture and slows a generator that is faster; `latest` unless said otherwise. */
    readonly delivery?: Delivery;
    /** Pictures before it starts, 5 to 10; 6 unless said otherwise. */
    readonly startAt?: number;
    /** Decoded pictures held at most, 2 to 64; 24 unless said otherwise. */
    readonly heldMax?: number;
}

/** What a screen may show beside the picture. The same object until something changes. */
export interface PlayerSnapshot {
    /** `waiting` for a first picture, `previews`, or the `film`. */
    readonly showing: "waiting" | "previews" | "film";
    readonly index: number;
    readonly revision: number;
    /** Pictures drawn, left out because newer ones were there, and not to be decoded. */
    readonly drawn: number;
    readonly dropped: number;
    readonly broken: number;
}

export class Player {
    readonly #options: PlayerOptions;
    readonly #store: GenerationStore;
    readonly #mode: Mode;
    readonly #decoder: Decoder = openDecoder();
    readonly #frames: FrameSubscription;
    readonly #cleanUps: (() => void)[] = [];
    readonly #listeners = new Set<() => void>();
    #schedule: Schedule<ImageBitmap>;
    #waiting: readonly Frame[] = [];
    #decoding = 0;
    #total = 0;
    #isHidden = false;
    #isOver = false;
    #painting: number | null = null;
    #filmUrl: string | null = null;
    #snapshot: PlayerSnapshot = { showing: "waiting", index: 0, revision: 0, drawn: 0, dropped: 0, broken: 0 };

    constructor(store: GenerationStore, options: PlayerOptions) {
        this.#options = options;
        this.#store = store;
        this.#mode = options.mode ?? "progressive";
        const maxFps = clamp(options.fps ?? 12, 1, 60);
        const startAt = clamp(options.startAt ?? 6, 5, 10);
        const heldMax = Math.max(startAt, clamp(options.heldMax ?? 24, 2, 64));
        this.#schedule = beginSchedule({ mode: this.#mode, startAt, intervalMs: 1_000 / maxFps, heldMax });
        const wish: FrameWish = { maxFps, maxWidth: options.maxWidth ?? 854, delivery: options.delivery ?? "latest" };
        this.#frames = store.watchFrames(wish, (frame) => this.#take(frame));
        this.#cleanUps.push(store.subscribe(() => this.#look()));
        this.#watchVisibility();
        this.#look();
    }

    readonly subscribe = (listener: () => void): (() => void) => {
        const own = () => listener();
        this.#listeners.add(own);
        return () => void this.#listeners.delete(own);
    };

    readonly getSnapshot = (): PlayerSnapshot => this.#snapshot;

    /** Lets go of everything. The canvas keeps its last picture. */
    stop(): void {
        if (this.#isOver) return;
        this.#isOver = true;
        this.#endPreviews();
        for (const cleanUp of this.#cleanUps) cleanUp();
        this.#listeners.clear();
    }

    #take(frame: Frame): void {
        if (this.#snapshot.showing === "film" || !wants(this.#schedule, frame.header)) return;
        if (frame.header.total > 0) this.#total = frame.header.total;
        // No browser makes a picture of one packet of a video stream.
        if (frame.header.format === "h264") return this.#tell({ broken: this.#snapshot.broken + 1 });
        LATEST.set(this.#store, frame);
        const { waiting, dropped } = enqueue(this.#waiting, frame, this.#mode);
        this.#waiting = waiting;
        if (dropped > 0) this.#tell({ dropped: this.#snapshot.dropped + dropped });
        this.#decode();
    }

    /** An empty canvas gets what others have. */
    #catchUp(): void {
        const latest = LATEST.get(this.#store);
        if (latest !== undefined && this.#snapshot.drawn === 0 && this.#decoding === 0) this.#take(latest);
    }

    #decode(): void {
        while (this.#decoding < DECODING_MAX && this.#waiting.length > 0) {
            const [frame, ...rest] = this.#waiting as readonly [Frame, ...Frame[]];
            this.#waiting = rest;
            this.#decoding += 1;
            void this.#decoder.decode(frame).then((image) => {
                this.#decoding -= 1;
                this.#decoded(frame, image);
                this.#decode();
            });
        }
    }

    #decoded({ header }: Frame, image: ImageBitmap | null): void {
        if (image === null) {
            if (!this.#isOver) this.#tell({ broken: this.#snapshot.broken + 1 });
            return;
        }
        if (this.#isOver || this.#snapshot.showing === "film") return image.close();
        const { fence, index, revision, flags } = header;
        this.#apply(offer(this.#schedule, { fence, index, revision, isLast: (flags & 2) !== 0, image }));
        this.#plan();
    }

    /** Draws when something is due, at the screen's own pace. */
    #plan(): void {
        if (this.#painting !== null || this.#isHidden || due(this.#schedule) === null) return;
        this.#painting = requestAnimationFrame((now) => {
            this.#painting = null;
            this.#apply(tick(this.#schedule, now));
            this.#plan();
        });
    }

    #apply({ schedule, show, close }: Step<ImageBitmap>): void {
        this.#schedule = schedule;
        if (show !== null) this.#draw(show);
        for (const image of close) image.close();
    }

    #draw(image: ImageBitmap): void {
        const { canvas } = this.#options;
        // Setting a size clears the canvas, so only when it is another; smaller pictures are drawn larger.
        if (image.width > canvas.width || !this.#snapshot.drawn) {
            canvas.width = image.width;
            canvas.height = image.height;
        }
        canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
        const { index = 0, revision = 0 } = this.#schedule.shown ?? {};
        this.#tell({ showing: "previews", index, revision, drawn: this.#snapshot.drawn + 1 });
    }

    #watchVisibility(): void {
        const { canvas } = this.#options;
        let isOffScreen = false;
        const change = () => {
            this.#isHidden = isOffScreen || document.hidden;
            this.#frames.pause(this.#isHidden);
            if (this.#isHidden) this.#waiting = [];
            else this.#catchUp();
            this.#plan();
        };
        document.addEventListener("visibilitychange", change);
        this.#cleanUps.push(() => document.removeEventListener("visibilitychange", change));
        if (typeof IntersectionObserver !== "undefined") {
            const observer = new IntersectionObserver((entries) => {
                isOffScreen = !(entries[entries.length - 1]?.isIntersecting ?? true);
                change();
            });
            observer.observe(canvas);
            this.#cleanUps.push(() => observer.disconnect());
        }
        change();
    }

    /** Is the film there? */
    #look(): void {
        const { event } = this.#store.getSnapshot();
        const url = event?.state === "complete" ? event.metadata?.videoUrl : undefined;
        const { video } = this.#options;
        if (this.#isOver || video === undefined || typeof url !== "string" || this.#filmUrl !== null) return;
        this.#filmUrl = new URL(url, this.#options.base ?? location.href).href;
        this.#change(video, this.#filmUrl);
    }

    /** The film is loaded behind the previews, put to the same place, and shown once it has a picture. */
    #change(video: HTMLVideoElement, url: string): void {
        const listen = (name: string, then: () => void) => {
            video.addEventListener(name, then, { once: true });
            this.#cleanUps.push(() => video.removeEventListener(name, then));
        };
        const show = () => {
            if (this.#isOver) return;
            this.#endPreviews();
            video.style.visibility = "visible";
            this.#tell({ showing: "film" });
            // Browsers may refuse to play by themselves; then the first picture stands, with controls.
            void video.play().catch(() => {});
        };
        video.style.visibility = "hidden";
        video.muted = video.playsInline = true;
        video.preload = "auto";
        listen("loadeddata", () => {
            const at = filmTime(this.#schedule.shown, this.#total, video.duration);
            if (at === 0) return show();
            listen("seeked", show);
            video.currentTime = at;
        });
        video.src = url;
    }

    #endPreviews(): void {
        if (this.#painting !== null) cancelAnimationFrame(this.#painting);
        this.#painting = null;
        this.#waiting = [];
        this.#frames.stop();
        this.#apply(endSchedule(this.#schedule));
        this.#decoder.close();
    }

    #tell(changes: Partial<PlayerSnapshot>): void {
        this.#snapshot = { ...this.#snapshot, ...changes };
        for (const listener of [...this.#listeners]) listener();
    }
}

function clamp(value: number, min: number, max: number): number {
    return Math.min(max, Math.max(min, value));
}
