// What the stage says of a generation: the newest of what its store, HTTP and hints know. Pure.

import type { GenerationEvent, GenerationState, Generation } from "@rushes/client";
import { count, duration, words } from "../studio/format.ts";
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
export function asideOf({ status }: Shown, generation: Generation | null, first: GenerationEvent | null): string | null {
    if (status.state === "queued") {
        const before = beforeOf(status, generation);
        if (status.metadata?.retryAt !== undefined) return "after a failed try";
        if (before === undefined) return "waiting for a worker";
        return before === 0 ? "next in line" : `${before} before it`;
    }
    if (status.state === "complete") return generation === null ? null : `made in ${duration((status.timestamp - generation.createdAt) / 1_000)}`;
    const left = secondsLeft(status, first);
    return left === null ? null : `about ${duration(left)} left`;
}

/** What stands in the frame while there is no picture. */
export interface Waiting {
    readonly title: string;
    readonly text?: string;
}

export function waitingOf({ status }: Shown, generation: Generation | null): Waiting | null {
    switch (status.state) {
        case "queued": {
            const before = beforeOf(status, generation);
            if (before === undefined) return { title: "In the queue", text: "It starts as soon as a worker is free." };
            if (before === 0) return { title: "Next in line", text: "It starts as soon as a worker is free." };
            return { title: `${count(before, "film")} before yours`, text: "Leave the page if you like: it keeps its place." };
        }
        case "running":
            return { title: status.stage === "prompt_analysis" || status.stage === undefined ? "Reading the prompt…" : "The first frames are on their way…" };
        case "cancelling":
            return { title: "Stopping…" };
        case "cancelled":
            return { title: "Cancelled before there was a picture" };
        case "failed":
            return { title: "No film came of it" };
        case "complete":
            return status.metadata?.videoUrl === undefined ? { title: "Finished, and it made no film" } : null;
    }
}

/** How many wait before it. A hint is newer than what was asked for over HTTP. */
function beforeOf({ metadata }: GenerationEvent, generation: Generation | null): number | undefined {
    const place = metadata?.queuePosition ?? generation?.queuePosition;
    return place === undefined ? undefined : Math.max(0, place - 1);
}

/** What the worker says of the scene it draws. */
export interface SceneFacts {
    /** Words of the prompt that it knew. */
    readonly understood: readonly string[];
    /** What it chose, because the prompt left it open. */
    readonly chosen: readonly string[];
}

/** In this order a scene reads like a sentence; what a worker adds follows. */
const SCENE_ORDER = ["kind", "hour", "ground", "weather", "aurora", "water", "trees", "pace", "camera"];

/** `metadata.scene`, as the reference worker fills it; null when there is none. */
export function sceneOf(event: GenerationEvent): SceneFacts | null {
    const scene = event.metadata?.scene;
    if (typeof scene !== "object" || scene === null) return null;
    const { understood: said = "", ...facts } = scene as Record<string, unknown>;
    const understood = String(said).split(",").map((word) => word.trim()).filter((word) => word !== "");
    const place = (name: string) => (SCENE_ORDER.indexOf(name) + SCENE_ORDER.length + 1) % (SCENE_ORDER.length + 1);
    const chosen = Object.entries(facts)
        .sort(([a], [b]) => place(a) - place(b))
        .flatMap(([name, value]) => {
            if (typeof value !== "string" || value === "" || value === "no") return [];
            const text = value === "yes" ? name : value;
            // `snowy` said `snow`, `trees` are a `tree`: what was said need not be repeated.
            const isSaid = understood.some((word) => word.startsWith(text.slice(0, 4)));
            return isSaid ? [] : [name === "camera" ? `camera ${text}` : text];
        });
    return { understood, chosen };
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
