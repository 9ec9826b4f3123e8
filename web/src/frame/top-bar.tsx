// What stands above everything: the name, how the server is reached, who one is, and two switches.

import { PEOPLE, type Person } from "../session/door.ts";
import { words } from "../studio/format.ts";
import type { Badge } from "../studio/situation.ts";
import { useTheme } from "../studio/theme.ts";
import { MoonIcon, PulseIcon, SunIcon } from "./icons.tsx";
import { Segmented } from "./segmented.tsx";
import "./top-bar.css";

interface Props {
    readonly badge: Badge;
    /** The person of a demo, where there is one to switch. */
    readonly person: Person | null;
    readonly onPerson: (person: Person) => void;
    readonly onLeave: (() => void) | null;
    readonly isDrawerOpen: boolean;
    readonly onDrawer: () => void;
}

export function TopBar({ badge, person, onPerson, onLeave, isDrawerOpen, onDrawer }: Props) {
    return (
        <header className="top-bar">
            <a className="brand" href="#" aria-label="Rushes, to the beginning">
                <Mark />
                <span>Rushes</span>
            </a>
            <span className="badge" data-testid="connection" data-tone={badge.tone} role="status">
                <i aria-hidden="true" />
                {badge.text}
            </span>
            <span className="top-bar-space" />
            {person !== null && <Segmented label="Signed in as" choices={PEOPLE} value={person} text={words} onChange={onPerson} testId="user-switch" />}
            {onLeave !== null && (
                <button type="button" className="button quiet" onClick={onLeave}>
                    Sign out
                </button>
            )}
            <ThemeSwitch />
            <button
                type="button"
                className="button quiet drawer-toggle"
                data-testid="drawer-toggle"
                aria-expanded={isDrawerOpen}
                aria-label="Under the hood"
                title="Under the hood (u)"
                onClick={onDrawer}
            >
                <PulseIcon /> <span>Under the hood</span>
            </button>
        </header>
    );
}

function ThemeSwitch() {
    const [theme, toggle] = useTheme();
    const other = theme === "dark" ? "light" : "dark";
    return (
        <button type="button" className="button icon-button quiet" aria-label={`Make it ${other}`} title={`Make it ${other}`} onClick={toggle}>
            {theme === "dark" ? <SunIcon /> : <MoonIcon />}
        </button>
    );
}

/** An R of one stroke. */
export function Mark() {
    return (
        <svg className="mark" viewBox="0 0 24 24" aria-hidden="true">
            <path d="M6 20V4h7a4.5 4.5 0 0 1 0 9H6m7 0 5.5 7" />
        </svg>
    );
}
