// From the previews to the finished film without a jump. Pure.

/** Where the film goes on, in seconds: at the picture that is on the screen, or from the beginning after the last one. */
export function filmTime(shown: { readonly index: number } | null, total: number, durationS: number): number {
    if (shown === null || total <= 0 || !Number.isFinite(durationS)) return 0;
    const at = shown.index >= total - 1 ? 0 : shown.index / total;
    return at * durationS;
}
