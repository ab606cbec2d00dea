/**
 * A thin client of Rung: deadlines, bounded retries, and a decision even where Rung does not answer.
 *
 *     const client = new Client("127.0.0.1:50051", { fallback: "big-model" });
 *     const decision = await client.route("Where is my parcel?");
 */
export type { Answer, Cascaded } from "./cascade.js";
export { Client } from "./client.js";
export { type Fallback, type Options, type Priority, type Retry, type Tls, priorityLabel } from "./config.js";
export { type Decision, type FallbackDecision, NotAnswered, type Reason, Refused, type Routed } from "./decision.js";
export type * from "./messages.js";
