// One sentence on what is not as it should be, and what can be done about it.

import type { Notice } from "../studio/situation.ts";

const ACTIONS = { retry: "Try now", reload: "Reload", "sign-in": "Sign in" } as const;

interface Props {
    readonly notice: Notice | null;
    readonly onAction: (action: keyof typeof ACTIONS) => void;
}

export function NoticeBar({ notice, onAction }: Props) {
    const action = notice?.action;
    return (
        // It stays in the page, so that readers hear what comes into it.
        <div className="notice-place" role="status">
            {notice !== null && (
                <div className="notice" data-testid="notice" data-tone={notice.tone}>
                    <i aria-hidden="true" />
                    <p>
                        {notice.text} {notice.wait !== undefined && <span aria-hidden="true">{notice.wait}</span>}
                    </p>
                    {action !== undefined && (
                        <button type="button" className="button" onClick={() => onAction(action)}>
                            {ACTIONS[action]}
                        </button>
                    )}
                </div>
            )}
        </div>
    );
}
