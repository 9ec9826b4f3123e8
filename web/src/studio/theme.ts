// Dark or light: what the system says, until somebody says otherwise.

import { useCallback, useState } from "react";
import { useMedia } from "./stores.ts";

export type Theme = "dark" | "light";
const KEY = "rushes.theme";

/** Before the first picture, so that nothing flashes. */
export function applyTheme(): void {
    show(kept());
}

export function useTheme(): readonly [theme: Theme, toggle: () => void] {
    const isLight = useMedia("(prefers-color-scheme: light)");
    const [chosen, setChosen] = useState(kept);
    const theme = chosen ?? (isLight ? "light" : "dark");
    const toggle = useCallback(() => {
        const next = theme === "dark" ? "light" : "dark";
        try {
            localStorage.setItem(KEY, next);
        } catch {
            // Then it holds until the reload.
        }
        setChosen(next);
        show(next);
    }, [theme]);
    return [theme, toggle];
}

function kept(): Theme | null {
    try {
        const theme = localStorage.getItem(KEY);
        return theme === "dark" || theme === "light" ? theme : null;
    } catch {
        return null;
    }
}

function show(theme: Theme | null): void {
    if (theme === null) return;
    document.documentElement.dataset.theme = theme;
    // What a phone paints around the page follows the choice too.
    const around = getComputedStyle(document.documentElement).getPropertyValue("background-color");
    for (const meta of document.querySelectorAll<HTMLMetaElement>("meta[name=theme-color]")) meta.content = around;
}
