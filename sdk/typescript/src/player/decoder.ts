// Decoding pictures off the main thread where that can be done, else on it. One worker for all players of a page, gone with
// the last of them.

import type { Frame } from "../frame.ts";

/** Turns a picture into a bitmap; null when it is none. Whoever gets the bitmap closes it. */
export interface Decoder {
    decode(frame: Frame): Promise<ImageBitmap | null>;
    close(): void;
}

let shared: { readonly decoder: WorkerDecoder; users: number } | null = null;

/** A decoder for one player. */
export function openDecoder(): Decoder {
    if (typeof Worker === "undefined") return { decode: decodeHere, close: () => {} };
    shared ??= { decoder: new WorkerDecoder(), users: 0 };
    const own = shared;
    own.users += 1;
    let isOpen = true;
    return {
        decode: (frame) => own.decoder.decode(frame),
        close: () => {
            if (!isOpen) return;
            isOpen = false;
            own.users -= 1;
            if (own.users > 0) return;
            own.decoder.close();
            if (shared === own) shared = null;
        },
    };
}

class WorkerDecoder {
    #worker: Worker | null = null;
    #lastId = 0;
    readonly #asked = new Map<number, { readonly frame: Frame; readonly resolve: (bitmap: ImageBitmap | null) => void }>();

    constructor() {
        try {
            const worker = new Worker(new URL("./decode-worker.js", import.meta.url), { type: "module" });
            worker.onmessage = ({ data }: { data: { id: number; bitmap?: ImageBitmap } }) => {
                const asked = this.#asked.get(data.id);
                this.#asked.delete(data.id);
                if (asked === undefined) data.bitmap?.close();
                else asked.resolve(data.bitmap ?? null);
            };
            // A page's policy may forbid workers, which is told late.
            worker.onerror = () => this.#giveUp();
            this.#worker = worker;
        } catch {
            this.#worker = null;
        }
    }

    decode(frame: Frame): Promise<ImageBitmap | null> {
        const worker = this.#worker;
        if (worker === null) return decodeHere(frame);
        return new Promise((resolve) => {
            this.#lastId += 1;
            this.#asked.set(this.#lastId, { frame, resolve });
            worker.postMessage({ id: this.#lastId, blob: blobOf(frame) });
        });
    }

    close(): void {
        this.#worker?.terminate();
        this.#worker = null;
        for (const { resolve } of this.#asked.values()) resolve(null);
        this.#asked.clear();
    }

    #giveUp(): void {
        this.#worker?.terminate();
        this.#worker = null;
        const asked = [...this.#asked.values()];
        this.#asked.clear();
        for (const { frame, resolve } of asked) void decodeHere(frame).then(resolve);
    }
}

async function decodeHere(frame: Frame): Promise<ImageBitmap | null> {
    try {
        return await createImageBitmap(blobOf(frame));
    } catch {
        return null;
    }
}

function blobOf({ header, picture }: Frame): Blob {
    return new Blob([picture], { type: `image/${header.format}` });
}
