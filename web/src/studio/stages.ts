// How far each stage is, out of events that say how far the whole is. Pure.

import type { GenerationEvent } from "@rushes/client";

/** Stages of the default pipeline and where they begin, in per cent of the whole (section 2.2 of the protocol). */
const VIDEO: readonly (readonly [name: string, begin: number])[] = [
    ["prompt_analysis", 0],
    ["generating_frames", 5],
    ["interpolating", 60],
    ["upscaling", 75],
    ["encoding", 90],
];

export type StageState = "waiting" | "running" | "done" | "stopped";

export interface Stage {
    readonly name: string;
    readonly state: StageState;
    /** Per cent of this stage; null when its pipeline is not known here. */
    readonly progress: number | null;
}

/**
 * The stages as the latest event leaves them. `pipeline` is `name@version`; of pipelines other than `video`, only the stages
 * that were seen are known.
 */
export function stagesOf(pipeline: string, event: GenerationEvent, seen: readonly string[]): readonly Stage[] {
    const isVideo = pipeline.split("@")[0] === "video";
    const names = isVideo ? VIDEO.map(([name]) => name) : seen;
    // Between two runs nothing runs, and the whole says how far we are.
    const at = event.stage === undefined ? -1 : names.indexOf(event.stage);
    return names.map((name, index) => {
        if (event.state === "complete") return { name, state: "done", progress: 100 };
        const progress = isVideo ? share(index, event.progress) : index < at ? 100 : null;
        const isDone = index < at || (progress === 100 && (index !== at || event.type === "stage_completed"));
        if (isDone) return { name, state: "done", progress: 100 };
        if (index !== at) return { name, state: isOver(event) && (progress ?? 0) > 0 ? "stopped" : "waiting", progress };
        return { name, state: isOver(event) ? "stopped" : "running", progress };
    });
}

function share(index: number, whole: number): number {
    const begin = VIDEO[index]?.[1] ?? 0;
    const end = VIDEO[index + 1]?.[1] ?? 100;
    return Math.min(100, Math.max(0, ((whole - begin) / (end - begin)) * 100));
}

function isOver(event: GenerationEvent): boolean {
    return event.state === "failed" || event.state === "cancelled";
}
