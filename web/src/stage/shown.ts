// What the stage says of a generation: the newest of what its store, HTTP and hints know. Pure.

import type { GenerationEvent, GenerationState, Generation } from "@rushes/client";
import { duration, words } from "../studio/format.ts";
import { secondsLeft } from "../studio/estimate.ts";

export interface Shown {
    /** The newest status: a hint where one is above the events. */
    readonly status: GenerationEvent;
    /** The newest durable event. */
    readonly event: GenerationEvent;
}

export function shownOf(state: GenerationState, generation: Generation | null): Shown | null {
    const event = state.event ?? generation?.status ?? null;
    return event === null ? null : { status: state.hint ?? event, event };
}

/** The state as a heading says it. */
export function headingOf({ status }: Shown): string {
    switch (status.state) {
        case "queued":
            return status.type === "retry_scheduled" ? "Trying again soon" : "Queued";
        case "running":
            return status.stage === undefined ? "Starting" : words(status.stage);
        case "cancelling":
            return "Cancelling";
        case "complete":
            return "Finished";
        case "failed":
            return "Failed";
        case "cancelled":
            return "Cancelled";
    }
}

/** What is beside the heading: how long, or for what it waits. */
export function asideOf({ status }: Shown, generation: Generation | null, startedAt: number | null): string | null {
    if (status.state === "queued") {
        const place = status.metadata?.queuePosition ?? generation?.queuePosition;
        if (status.metadata?.retryAt !== undefined) return "after a failed try";
        if (place === undefined) return "waiting for a worker";
        return place <= 1 ? "next in line" : `${place - 1} before it`;
    }
    const left = secondsLeft(status, startedAt);
    return left === null ? null : `about ${duration(left)} left`;
}

/** What the server understood of the prompt, as its worker's `metadata.scene` says it: `sunset`, `aurora`. */
export function sceneOf(event: GenerationEvent): readonly (readonly [name: string, value: string])[] {
    const scene = event.metadata?.scene;
    if (typeof scene !== "object" || scene === null) return [];
    return Object.entries(scene).flatMap(([name, value]) => {
        if (name === "understood" || value === "no" || typeof value !== "string" || value === "") return [];
        return [[name, value === "yes" ? name : value] as const];
    });
}

/** The words of the prompt that were understood; null when the worker does not say. */
export function understoodOf(event: GenerationEvent): readonly string[] | null {
    const scene = event.metadata?.scene as { understood?: unknown } | undefined;
    if (typeof scene?.understood !== "string") return null;
    return scene.understood.split(",").map((word) => word.trim()).filter((word) => word !== "");
}

/** Width by height, from what was asked for; 16:9 when nobody knows. */
export function ratioOf(generation: Generation | null): number {
    const { width, height } = (generation?.input ?? {}) as { width?: unknown; height?: unknown };
    const isSize = typeof width === "number" && typeof height === "number" && width > 0 && height > 0;
    return isSize ? Math.min(4, Math.max(0.25, width / height)) : 16 / 9;
}

export function promptOf(generation: Generation | null): string {
    const prompt = generation?.input.prompt;
    return typeof prompt === "string" ? prompt : "";
}
