// Where the page begins.

import { createRoot } from "react-dom/client";
import "./styles/base.css";
import "./styles/controls.css";
import { App } from "./app.tsx";
import { ErrorBoundary } from "./frame/error-boundary.tsx";
import { applyTheme } from "./studio/theme.ts";

applyTheme();
const root = document.getElementById("root");
if (root === null) throw new Error("index.html has no #root");
createRoot(root).render(
    <ErrorBoundary part="The page">
        <App />
    </ErrorBoundary>,
);
