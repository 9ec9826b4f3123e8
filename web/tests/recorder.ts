// Runs in the page, before anything of it: writes down what came over sockets, what was decoded, what was drawn and what was
// given back. Changes nothing the page could notice.

/** A picture as it came. */
export interface Came {
    readonly index: number;
    readonly revision: number;
    readonly total: number;
    /** Microseconds of film time. */
    readonly pts: number;
    readonly bytes: number;
    readonly at: number;
}

export interface Drawn {
    readonly pts: number;
    readonly index: number;
    readonly revision: number;
    /** Of the pixels, made small. */
    readonly hash: number;
    /** On the player's canvas, and not a tile's. */
    readonly isPlayer: boolean;
    readonly at: number;
}

export interface Recorded {
    readonly said: { readonly type: string; readonly [key: string]: unknown }[];
    readonly heard: { readonly type: string; readonly generationId?: string; readonly data?: { readonly sequence: number; readonly status: string; readonly ephemeral?: boolean } }[];
    readonly came: Came[];
    /** How many pictures came, by generation. */
    readonly cameOf: Record<string, number>;
    readonly drawn: Drawn[];
    /** Texts of the state, as they stood on the screen. */
    readonly states: string[];
    decoded: number;
    closed: number;
    /** Decoded by the worker, and not on the main thread. */
    byWorker: number;
    readonly violations: string[];
}

declare global {
    interface Window {
        recorded: Recorded;
    }
}

export function record(): void {
    const recorded: Recorded = { said: [], heard: [], came: [], cameOf: {}, drawn: [], states: [], decoded: 0, closed: 0, byWorker: 0, violations: [] };
    window.recorded = recorded;
    document.addEventListener("securitypolicyviolation", (event) => recorded.violations.push(`${event.violatedDirective}: ${event.blockedURI}`));

    const Plain = window.WebSocket;
    window.WebSocket = class extends Plain {
        constructor(url: string | URL, protocols?: string | string[]) {
            super(url, protocols);
            this.addEventListener("message", ({ data }: MessageEvent<string | ArrayBuffer>) => {
                if (typeof data === "string") recorded.heard.push(JSON.parse(data));
                else recorded.came.push(read(data));
            });
        }
        override send(data: string): void {
            recorded.said.push(JSON.parse(data));
            super.send(data);
        }
    };
    function read(data: ArrayBuffer): Came {
        const view = new DataView(data);
        const id = String.fromCharCode(...new Uint8Array(data, 37, view.getUint8(36)));
        recorded.cameOf[id] = (recorded.cameOf[id] ?? 0) + 1;
        const bytes = data.byteLength - view.getUint16(4, true);
        const [index, total, revision] = [12, 16, 20].map((at) => view.getUint32(at, true)) as [number, number, number];
        return { index, total, revision, pts: Number(view.getBigUint64(24, true)), bytes, at: performance.now() };
    }

    // The blob that goes to the worker is as long as the picture that came; by that the bitmap is known again.
    const ids = new Map<Worker, Map<number, number>>();
    const known = new WeakMap<ImageBitmap, Came>();
    const post = Worker.prototype.postMessage;
    Worker.prototype.postMessage = function (this: Worker, message: { id: number; blob: Blob }, ...rest: unknown[]) {
        let own = ids.get(this);
        if (own === undefined) {
            ids.set(this, (own = new Map()));
            this.addEventListener("message", ({ data }: MessageEvent<{ id: number; bitmap?: ImageBitmap }>) => {
                if (data.bitmap === undefined) return;
                recorded.decoded += 1;
                recorded.byWorker += 1;
                const size = ids.get(this)?.get(data.id);
                ids.get(this)?.delete(data.id);
                const came = recorded.came.findLast(({ bytes }) => bytes === size);
                if (came !== undefined) known.set(data.bitmap, came);
            });
        }
        own.set(message.id, message.blob.size);
        (post as (...all: unknown[]) => void).call(this, message, ...rest);
    } as typeof post;
    const make = window.createImageBitmap;
    window.createImageBitmap = (async (...all: Parameters<typeof make>) => {
        const bitmap = await make(...all);
        recorded.decoded += 1;
        return bitmap;
    }) as typeof make;
    const close = ImageBitmap.prototype.close;
    ImageBitmap.prototype.close = function () {
        if (this.width > 0) recorded.closed += 1;
        close.call(this);
    };

    const draw = CanvasRenderingContext2D.prototype.drawImage as (...all: unknown[]) => void;
    const small = new OffscreenCanvas(32, 18).getContext("2d", { willReadFrequently: true }) as OffscreenCanvasRenderingContext2D;
    CanvasRenderingContext2D.prototype.drawImage = function (this: CanvasRenderingContext2D, image: CanvasImageSource, ...rest: number[]) {
        draw.call(this, image, ...rest);
        const came = image instanceof ImageBitmap ? known.get(image) : undefined;
        if (came === undefined) return;
        small.drawImage(image, 0, 0, 32, 18);
        const pixels = small.getImageData(0, 0, 32, 18).data;
        const hash = pixels.reduce((sum, value) => (Math.imul(sum, 31) + value) | 0, 7);
        const isPlayer = this.canvas.closest("[data-testid=player]") !== null;
        const { pts, index, revision } = came;
        recorded.drawn.push({ pts, index, revision, hash, isPlayer, at: performance.now() });
    } as typeof CanvasRenderingContext2D.prototype.drawImage;

    const look = () => {
        const state = document.querySelector("[data-testid=state]")?.textContent;
        if (state && recorded.states.at(-1) !== state) recorded.states.push(state);
    };
    new MutationObserver(look).observe(document, { subtree: true, childList: true, characterData: true });
}
