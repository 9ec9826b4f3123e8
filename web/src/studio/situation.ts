// What happens, in words of somebody who waits for a film. Pure.

import type { ConnectionSnapshot } from "@rushes/client";

export type Tone = "good" | "busy" | "bad" | "idle";

/** What the badge says. */
export interface Badge {
    readonly tone: Tone;
    readonly text: string;
}

/** What stands above the film while something is not as it should be. */
export interface Notice {
    readonly tone: Tone;
    readonly text: string;
    /** What changes each second, and is not read out each second. */
    readonly wait?: string;
    readonly action?: "retry" | "reload" | "sign-in";
}

export interface Circumstances {
    readonly connection: ConnectionSnapshot;
    /** Is there a film that is not finished? */
    readonly isWaiting: boolean;
    /** Was there a connection since the page is open? */
    readonly wasConnected: boolean;
    /** Does the browser have a network? */
    readonly isOnline: boolean;
    /** It was cut by the button. */
    readonly wasCut: boolean;
    /** The transport was chosen by hand. */
    readonly wasChosen: boolean;
    /** The server's page is another one than this. */
    readonly isOutdated: boolean;
    readonly now: number;
}

export function badgeOf({ connection, isOnline, wasConnected }: Circumstances): Badge {
    if (!isOnline) return { tone: "bad", text: "Offline" };
    if (connection.error?.code === "unauthorized") return { tone: "bad", text: "Signed out" };
    switch (connection.state) {
        case "live":
            return { tone: "good", text: "Live" };
        case "catching_up":
            return { tone: "busy", text: "Catching up" };
        case "polling":
            return { tone: "good", text: "Polling" };
        case "reconnecting":
            return { tone: "busy", text: wasConnected ? "Reconnecting" : "Connecting" };
        case "offline":
            return connection.retryAt === null && connection.error === null ? { tone: "idle", text: "Ready" } : { tone: "bad", text: "No answer" };
    }
}

export function noticeOf(all: Circumstances): Notice | null {
    const { connection, isWaiting, isOnline, wasConnected } = all;
    if (!isOnline) {
        return { tone: "bad", text: `You are offline. ${isWaiting ? "The server goes on with your film, and this page" : "This page"} catches up when you are back.` };
    }
    if (connection.error?.code === "unauthorized") return { tone: "bad", text: "You were signed out. Your films go on without you.", action: "sign-in" };
    // A proxy whose server is away answers too, but says that it may be back.
    if (connection.error?.code === "bad_answer" && !connection.error.retryable) {
        return { tone: "bad", text: "The server answers in a way this page does not understand: it may be of another version.", action: "reload" };
    }
    if (connection.state === "offline" && connection.retryAt !== null) {
        return { tone: "bad", text: `The server does not answer${isWaiting ? "; your film is safe there" : ""}.`, wait: next(all), action: "retry" };
    }
    if (isWaiting && wasConnected && connection.state === "reconnecting") return { tone: "busy", text: comingBack(all), wait: next(all), action: "retry" };
    if (all.isOutdated) return { tone: "busy", text: "The server was updated. Reload to get the page that belongs to it.", action: "reload" };
    if (isWaiting && connection.state === "polling" && !all.wasChosen) {
        return { tone: "busy", text: "Asking again and again: something between here and the server lets no stream through. Nothing is missed; live pictures pause." };
    }
    return null;
}

function comingBack(all: Circumstances): string {
    if (all.wasCut) return "You cut the connection; your film goes on.";
    const isGone = all.connection.error !== null;
    return `${isGone ? "The server does not answer, perhaps it is restarting" : "Server restarting, or the network paused"}; your film goes on.`;
}

function next({ connection, now }: Circumstances): string {
    if (connection.retryAt === null) return "Connecting…";
    const seconds = Math.ceil((connection.retryAt - now) / 1_000);
    return seconds <= 0 ? "Connecting…" : `Trying again in ${seconds} s.`;
}
