import "react";

declare module "react" {
    interface CSSProperties {
        /** Custom properties carry values from a component to its styles. */
        [name: `--${string}`]: string | number;
    }
}
