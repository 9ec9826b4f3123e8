// What the package `@rushes/client/player` gives to others.

export { Player, type PlayerOptions, type PlayerSnapshot } from "./player.ts";
export type { Mode } from "./schedule.ts";
