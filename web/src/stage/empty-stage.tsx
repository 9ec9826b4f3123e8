// The stage before there is a film: one of the renderer's own pictures as its first pass would show it.

import { EXAMPLES } from "../composer/examples.ts";
import { AttachLine } from "./scene.tsx";
import "./screen.css";
import "./stage.css";

export function EmptyStage() {
    return (
        <section className="stage" aria-label="Film" data-state="empty">
            <div className="screen empty" style={{ "--ratio": 16 / 9 }}>
                <div className="screen-frame">
                    <img className="screen-latent" src={EXAMPLES[0].picture} alt="" />
                    <p className="screen-word" data-testid="state">
                        <strong>Your film appears here while it is made.</strong>
                        Press Generate, or pick an example.
                    </p>
                </div>
            </div>
            <AttachLine />
        </section>
    );
}
