// Runs in a worker: pictures in, bitmaps out. One for all players of a page.

interface Asked {
    readonly id: number;
    readonly blob: Blob;
}

/** The part of a worker's global that is used; the library types of windows and workers exclude each other. */
interface Scope {
    onmessage: ((event: { data: Asked }) => void) | null;
    postMessage(answer: unknown, transfer?: readonly unknown[]): void;
}

const scope = globalThis as unknown as Scope;

scope.onmessage = ({ data: { id, blob } }) => {
    createImageBitmap(blob).then(
        (bitmap) => scope.postMessage({ id, bitmap }, [bitmap]),
        () => scope.postMessage({ id }),
    );
};
scope.postMessage({ id: 0 });

export {};
