// Four pictures of films that one click makes.

import { PlayIcon } from "../frame/icons.tsx";
import { EXAMPLES, type Example } from "./examples.ts";

interface Props {
    readonly isBusy: boolean;
    readonly onStart: (example: Example) => void;
}

export function Examples({ isBusy, onStart }: Props) {
    return (
        <ul className="examples" aria-label="Examples">
            {EXAMPLES.map((example) => (
                <li key={example.title}>
                    <button type="button" className="example" title={example.prompt} aria-disabled={isBusy} onClick={() => isBusy || onStart(example)}>
                        <img src={example.picture} alt="" width={248} height={140} />
                        <span className="example-title">{example.title}</span>
                        <span className="example-play"><PlayIcon /></span>
                    </button>
                </li>
            ))}
        </ul>
    );
}
