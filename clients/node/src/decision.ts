/** A decision: Rung's, or the application's own for when there is none. And what a status means to a caller. */
import { status, type ServiceError } from "@grpc/grpc-js";
import type { Fallback } from "./config.js";
import { type Told, told } from "./details.js";
import type { RouteItemReply, RouteReply } from "./messages.js";

/** Why Rung did not decide. */
export type Reason = "unreachable" | "too_late" | "overloaded" | "broken";

/** Rung's decision, with its odds and evidence. */
export interface Routed {
  kind: "routed";
  /** The model to call. */
  model: string;
  response: RouteReply;
}

/** The application's own choice, for want of Rung's. It has no odds. */
export interface FallbackDecision {
  kind: "fallback";
  /** The model to call. */
  model: string;
  tier: "TIER_STRONG" | "TIER_WEAK";
  reason: Reason;
  detail: string;
}

export type Decision = Routed | FallbackDecision;

/** Rung refuses the request: it is wrong, not allowed, or over budget. The same again is refused again. */
export class Refused extends Error {
  override name = "Refused";
  constructor(
    readonly code: status,
    detail: string,
  ) {
    super(`${status[code]}: ${detail}`);
  }
}

/** Rung did not answer. `route` and `routeBatch` never throw it: they fall back. */
export class NotAnswered extends Error {
  override name = "NotAnswered";
  constructor(
    readonly reason: Reason,
    readonly detail: string,
    readonly retry = false,
    readonly retryAfterMs = 0,
  ) {
    super(`${reason}: ${detail}`);
  }
}

export type Failure = Refused | NotAnswered;

/** Why a budget is refused, in google.rpc.ErrorInfo: another try or the strong model is the last thing its owner wants. */
const BUDGET_SPENT = "BUDGET_SPENT";
const BROKEN = [status.UNKNOWN, status.INTERNAL, status.DATA_LOSS, status.ABORTED];

export function tooLate(): NotAnswered {
  return new NotAnswered("too_late", "no answer within the deadline");
}

/** What a status means: refused for good, or not answered, and whether to try again. */
export function judge(code: status, message: string, details: Told): Failure {
  if (code === status.UNAVAILABLE) {
    return new NotAnswered("unreachable", message, true, details.retryAfterMs);
  }
  if (code === status.RESOURCE_EXHAUSTED && details.reason !== BUDGET_SPENT) {
    return new NotAnswered("overloaded", message, true, details.retryAfterMs);
  }
  // CANCELLED is what Rung's own timer says where the deadline ends a call.
  if (code === status.DEADLINE_EXCEEDED || code === status.CANCELLED) {
    return tooLate();
  }
  return BROKEN.includes(code) ? new NotAnswered("broken", message) : new Refused(code, message);
}

export function failureOf(error: ServiceError): Failure {
  return judge(error.code, error.details, told(error.metadata));
}

export function fallBack(fallback: Required<Fallback>, failure: NotAnswered): FallbackDecision {
  const { reason, detail } = failure;
  return { kind: "fallback", model: fallback.model, tier: fallback.weak ? "TIER_WEAK" : "TIER_STRONG", reason, detail };
}

/** Rung's decision or the fallback; a refusal is thrown. */
export function decided(fallback: Required<Fallback>, answered: RouteReply | NotAnswered): Decision {
  return answered instanceof NotAnswered
    ? fallBack(fallback, answered)
    : { kind: "routed", model: answered.model, response: answered };
}

/** A decision of a batch, or its refusal. */
export function itemDecided(fallback: Required<Fallback>, item: RouteItemReply): Decision | Refused {
  if (item.response) {
    return decided(fallback, item.response);
  }
  const failure = item.error
    ? judge(item.error.code, item.error.message, { retryAfterMs: 0, reason: item.error.reason })
    : new NotAnswered("broken", "an item of a batch is empty");
  return failure instanceof NotAnswered ? fallBack(fallback, failure) : failure;
}
