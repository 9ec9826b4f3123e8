// What the package `@rushes/client` gives to others. The player is an entry of its own, `@rushes/client/player`.

export { Rushes, type CallOptions, type Options, type SubmitOptions, type WatchOptions } from "./client.ts";
export type { Connection, ConnectionSnapshot, ConnectionState } from "./connection.ts";
export { RushesError, type Code, type ErrorFacts, type ServerCode } from "./errors.ts";
export { isTerminal, type EventType, type GenerationEvent, type Hint, type Metadata, type State, type Status } from "./event.ts";
export type { Frame, FrameFormat, FrameHeader } from "./frame.ts";
export type { Accepted, ArtifactLink, Generation, GenerationPage, ListQuery, Priority, Submission } from "./generation.ts";
export type { Counts, GenerationState, Phase } from "./history.ts";
export type { Rung } from "./ladder.ts";
export type { Delivery, FrameWish, Recovery } from "./live.ts";
export type { FrameSubscription, GenerationStore } from "./store.ts";
export type { GetToken } from "./tokens.ts";
export type { Timing } from "./world.ts";
