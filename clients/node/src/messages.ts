/** The messages of `rung.v1` that the client speaks: what is sent may leave fields out, what comes (`…Reply`) has them. */
export type { AnswerSignals } from "./generated/rung/v1/AnswerSignals.js";
export type { AssessRequest } from "./generated/rung/v1/AssessRequest.js";
export type { AssessResponse__Output as AssessReply } from "./generated/rung/v1/AssessResponse.js";
export type { GetInfoResponse__Output as InfoReply } from "./generated/rung/v1/GetInfoResponse.js";
export type { MatchRequest } from "./generated/rung/v1/MatchRequest.js";
export type { MatchResponse__Output as MatchReply } from "./generated/rung/v1/MatchResponse.js";
export type { PlanCascadeRequest } from "./generated/rung/v1/PlanCascadeRequest.js";
export type { PlanCascadeResponse__Output as PlanCascadeReply } from "./generated/rung/v1/PlanCascadeResponse.js";
export type { ReportOutcomeRequest } from "./generated/rung/v1/ReportOutcomeRequest.js";
export type { ReportOutcomeResponse__Output as ReportOutcomeReply } from "./generated/rung/v1/ReportOutcomeResponse.js";
export type { RouteBatchRequest } from "./generated/rung/v1/RouteBatchRequest.js";
export type { RouteBatchResponse__Output as RouteBatchReply } from "./generated/rung/v1/RouteBatchResponse.js";
export type { RouteItem__Output as RouteItemReply } from "./generated/rung/v1/RouteItem.js";
export type { RouteRequest } from "./generated/rung/v1/RouteRequest.js";
export type { RouteResponse__Output as RouteReply } from "./generated/rung/v1/RouteResponse.js";
