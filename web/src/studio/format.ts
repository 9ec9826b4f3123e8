// Values as people read them. Pure.

/** `4 s`, `1 min 20 s`: as exact as an estimate is. */
export function duration(seconds: number): string {
    const whole = Math.max(1, Math.round(seconds));
    if (whole < 60) return `${whole} s`;
    const minutes = Math.floor(whole / 60);
    // Beyond ten minutes nobody counts seconds.
    return whole < 600 && whole % 60 !== 0 ? `${minutes} min ${whole % 60} s` : `${Math.round(whole / 60)} min`;
}

/** `0:04`, as players write it. */
export function clock(seconds: number): string {
    const whole = Number.isFinite(seconds) ? Math.max(0, Math.floor(seconds)) : 0;
    return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** `4 ms`, `1.2 s`. */
export function milliseconds(ms: number): string {
    return Math.abs(ms) < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`;
}

/** `just now`, `4 min ago`, then the date. */
export function ago(then: number, now: number): string {
    const seconds = Math.round((now - then) / 1_000);
    if (seconds < 45) return "just now";
    if (seconds < 3_600) return `${Math.max(1, Math.round(seconds / 60))} min ago`;
    if (seconds < 86_400) return `${Math.round(seconds / 3_600)} h ago`;
    return new Date(then).toLocaleDateString(undefined, { day: "numeric", month: "short" });
}

/** `generating_frames` as `Generating frames`. */
export function words(name: string): string {
    const text = name.replace(/[_-]+/g, " ").trim();
    return text.charAt(0).toUpperCase() + text.slice(1);
}

export function percent(value: number): string {
    return `${Math.floor(value)} %`;
}

export function count(number: number, one: string, many = `${one}s`): string {
    return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}
