// Builds dist/: one JavaScript file and one declaration file for each source file, so that bundlers take what is used.
import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";

const folder = new URL("..", import.meta.url);
rmSync(new URL("dist", folder), { recursive: true, force: true });
execFileSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.json", "--noEmit", "false"], {
    cwd: folder,
    stdio: "inherit",
});
