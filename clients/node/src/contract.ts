/** The contract, read once: the methods that the client calls, with the types of their messages. */
import { fileURLToPath } from "node:url";
import type { MethodDefinition } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import type * as m from "./messages.js";

/** A unary method. */
export type Method<Asked, Answered> = Pick<
  MethodDefinition<Asked, Answered>,
  "path" | "requestSerialize" | "responseDeserialize"
>;

const contracts = ["router", "cascade", "outcomes", "semantic"].map((name) => `rung/v1/${name}.proto`);
// The options are those of build.mjs: the types hold for messages that are read with these alone.
const definition = loadSync(contracts, {
  includeDirs: [fileURLToPath(new URL("./proto", import.meta.url))],
  longs: Number,
  enums: String,
  defaults: true,
  oneofs: true,
});

function method<Asked, Answered>(service: string, name: string): Method<Asked, Answered> {
  const methods = definition[`rung.v1.${service}`] as unknown as Record<string, Method<Asked, Answered>>;
  const found = methods?.[name];
  if (found === undefined) {
    throw new Error(`the contract has no ${service}/${name}`);
  }
  return found;
}

export const route = method<m.RouteRequest, m.RouteReply>("RouterService", "Route");
export const routeBatch = method<m.RouteBatchRequest, m.RouteBatchReply>("RouterService", "RouteBatch");
export const getInfo = method<Record<string, never>, m.InfoReply>("RouterService", "GetInfo");
export const planCascade = method<m.PlanCascadeRequest, m.PlanCascadeReply>("CascadeService", "PlanCascade");
export const assess = method<m.AssessRequest, m.AssessReply>("CascadeService", "Assess");
export const reportOutcome = method<m.ReportOutcomeRequest, m.ReportOutcomeReply>("OutcomeService", "ReportOutcome");
export const match = method<m.MatchRequest, m.MatchReply>("SemanticService", "Match");
