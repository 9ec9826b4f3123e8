// The one screen: what is asked for, the film on its stage, one's own generations, and the drawer.

import { useCallback, useEffect, useState } from "react";
import { isTerminal, type Generation, type GenerationEvent } from "@rushes/client";
import type { PlayerSnapshot } from "@rushes/client/player";
import { Composer } from "./composer/composer.tsx";
import { Drawer } from "./drawer/drawer.tsx";
import { ErrorBoundary } from "./frame/error-boundary.tsx";
import { NoticeBar } from "./frame/notice.tsx";
import { TopBar } from "./frame/top-bar.tsx";
import { Tiles } from "./library/tiles.tsx";
import { Entrance, type EntranceActions } from "./session/entrance.tsx";
import type { Session } from "./session/session.ts";
import { EmptyStage } from "./stage/empty-stage.tsx";
import { Stage } from "./stage/stage.tsx";
import { NOTHING_SHOWN } from "./stage/use-player.ts";
import { useIsDeleted, useWatched } from "./stage/watched.ts";
import { goTo } from "./studio/address.ts";
import { percent, words } from "./studio/format.ts";
import { badgeOf, noticeOf } from "./studio/situation.ts";
import { useOpenGeneration, useValueOf } from "./studio/stores.ts";
import { useSituation } from "./studio/use-situation.ts";
import "./app.css";

export function App() {
    return <Entrance>{(session, actions) => <Studio session={session} actions={actions} />}</Entrance>;
}

function Studio({ session, actions }: { readonly session: Session; readonly actions: EntranceActions }) {
    const { client, library, person } = session;
    const open = useOpenGeneration();
    const watched = useWatched(open);
    const [player, setPlayer] = useState<PlayerSnapshot>(NOTHING_SHOWN);
    const [isDrawerOpen, setIsDrawerOpen] = useDrawer();
    const shown = useValueOf(watched?.store ?? null)?.event ?? watched?.generation?.status ?? null;
    const isDeleted = useIsDeleted(watched);
    const isOpenRunning = shown !== null && !isDeleted && !isTerminal(shown.state);
    const { circumstances, cut, use } = useSituation(client, library, isOpenRunning);
    const refused = circumstances.connection.error?.code === "unauthorized";
    useEffect(() => {
        if (refused && person === null) actions.askForToken("The server takes this token no more: it has expired, or was signed by somebody else.");
    }, [refused, person, actions]);
    useTitle(shown, isDeleted);
    const onAccepted = useCallback(
        (generation: Generation) => {
            library.accept(generation);
            goTo(generation.id);
            showStage();
        },
        [library],
    );
    const onAction = (action: "retry" | "reload" | "sign-in") => (action === "reload" ? location.reload() : client.connection.retry());
    return (
        <div className="app" data-drawer={isDrawerOpen}>
            <a className="skip" href="#prompt" onClick={skipToPrompt}>To the prompt</a>
            <TopBar
                badge={badgeOf(circumstances)}
                person={person}
                onPerson={(next) => {
                    goTo(null);
                    actions.enterAs(next);
                }}
                onLeave={person === null ? () => actions.askForToken(null) : null}
                isDrawerOpen={isDrawerOpen}
                onDrawer={() => setIsDrawerOpen(!isDrawerOpen)}
            />
            <main className="workspace">
                <h1 className="unseen">Rushes studio</h1>
                <ErrorBoundary part="The form">
                    <Composer key={person} onAccepted={onAccepted} />
                </ErrorBoundary>
                <div className="middle" id="stage">
                    <NoticeBar notice={noticeOf(circumstances)} onAction={onAction} />
                    <ErrorBoundary key={open} part="The player">
                        {watched === null ? <EmptyStage /> : <Stage watched={watched} isDeleted={isDeleted} onAccepted={onAccepted} onPlayer={setPlayer} />}
                    </ErrorBoundary>
                    <ErrorBoundary part="The list">
                        <Tiles open={open} onOpened={showStage} />
                    </ErrorBoundary>
                </div>
                {isDrawerOpen && (
                    <ErrorBoundary part="The drawer">
                        <Drawer watched={watched} isDeleted={isDeleted} player={player} onCut={cut} onUse={use} onClose={() => setIsDrawerOpen(false)} />
                    </ErrorBoundary>
                )}
            </main>
        </div>
    );
}

/** On a phone the stage stands below what is asked for, and tiles below the stage everywhere. */
function showStage() {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    document.querySelector("#stage")?.scrollIntoView({ block: "start", behavior: calm ? "auto" : "smooth" });
}

function skipToPrompt(event: { preventDefault(): void }) {
    event.preventDefault();
    document.querySelector<HTMLElement>("#prompt")?.focus();
}

/** A tab in the background says how far the film is. */
function useTitle(shown: GenerationEvent | null, isDeleted: boolean) {
    const said = isDeleted ? "Deleted · " : shown === null ? "" : isTerminal(shown.state) ? `${words(shown.state)} · ` : `${percent(shown.progress)} · `;
    useEffect(() => {
        document.title = `${said}Rushes`;
    }, [said]);
}

/** Open or not, kept for the tab; `u` and Escape reach it from everywhere. */
function useDrawer(): readonly [boolean, (isOpen: boolean) => void] {
    const [isOpen, setIsOpen] = useState(() => sessionStorage.getItem("rushes.drawer") === "open");
    useEffect(() => sessionStorage.setItem("rushes.drawer", isOpen ? "open" : "closed"), [isOpen]);
    useEffect(() => {
        const hear = (event: KeyboardEvent) => {
            if (event.target instanceof Element && event.target.closest("dialog") !== null) return;
            const isTyping = event.target instanceof Element && event.target.closest("input:not([type=radio],[type=range]), textarea") !== null;
            if (event.key === "Escape") setIsOpen(false);
            if (event.key === "u" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) setIsOpen((before) => !before);
        };
        addEventListener("keydown", hear);
        return () => removeEventListener("keydown", hear);
    }, []);
    return [isOpen, setIsOpen];
}
