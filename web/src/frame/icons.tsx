// The page's few icons, drawn as strokes in the colour of the text beside them. They say nothing to a screen reader.

import type { ReactNode } from "react";

function Icon({ children }: { readonly children: ReactNode }) {
    return (
        <svg className="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false">
            {children}
        </svg>
    );
}

export const PlayIcon = () => <Icon><path d="M7 4.8v10.4l8.2-5.2z" className="icon-solid" /></Icon>;
export const PauseIcon = () => <Icon><path d="M7.2 5v10M12.8 5v10" strokeWidth="2.4" /></Icon>;
export const DiceIcon = () => (
    <Icon>
        <rect x="3.5" y="3.5" width="13" height="13" rx="3" />
        <path d="M7.2 7.2h.01M12.8 7.2h.01M10 10h.01M7.2 12.8h.01M12.8 12.8h.01" strokeWidth="2.2" />
    </Icon>
);
export const DownloadIcon = () => <Icon><path d="M10 3.5v9m0 0 3.6-3.6M10 12.5 6.4 8.9M4 16.5h12" /></Icon>;
export const CloseIcon = () => <Icon><path d="m5.5 5.5 9 9m0-9-9 9" /></Icon>;
export const RetryIcon = () => <Icon><path d="M16 10a6 6 0 1 1-1.8-4.3L16 7.4M16 3.6v3.8h-3.8" /></Icon>;
export const MoonIcon = () => <Icon><path d="M16 11.8A6.6 6.6 0 0 1 8.2 4a6.6 6.6 0 1 0 7.8 7.8z" /></Icon>;
export const SunIcon = () => (
    <Icon>
        <circle cx="10" cy="10" r="3.1" />
        <path d="M10 2.8v1.6m0 11.2v1.6M2.8 10h1.6m11.2 0h1.6M4.9 4.9 6 6m8 8 1.1 1.1m0-10.2L14 6m-8 8-1.1 1.1" />
    </Icon>
);
export const PulseIcon = () => <Icon><path d="M2.5 10h3.4l2-5 3.6 10 2.2-5h3.8" /></Icon>;
export const ExpandIcon = () => <Icon><path d="M7.5 3.8H3.8v3.7m8.7-3.7h3.7v3.7M7.5 16.2H3.8v-3.7m8.7 3.7h3.7v-3.7" /></Icon>;
export const CheckIcon = () => <Icon><path d="m4.8 10.4 3.4 3.4 7-7.4" /></Icon>;
export const ScissorsIcon = () => (
    <Icon>
        <circle cx="5.2" cy="5.8" r="2" />
        <circle cx="5.2" cy="14.2" r="2" />
        <path d="m7 7 9.5 6.6M7 13l9.5-6.6" />
    </Icon>
);
export const EnterIcon = () => <Icon><path d="M15.5 5.5v3.2a2 2 0 0 1-2 2H5m0 0 3.2-3.2M5 10.7l3.2 3.2" /></Icon>;
