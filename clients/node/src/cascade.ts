/** A query through a cascade: the application calls the models, Rung says which and when it is enough. */
import type { Fallback } from "./config.js";
import { type FallbackDecision, NotAnswered, fallBack } from "./decision.js";
import type { AnswerSignals, AssessReply, AssessRequest, PlanCascadeReply, PlanCascadeRequest } from "./messages.js";

/** An answer of a model, and what is known beside its text. */
export interface Answer {
  text: string;
  signals?: AnswerSignals;
  costUsd?: number;
}

/**
 * How a query came out of a cascade. `accepted`: the answer was judged good enough. `abstained`: none is expected to be;
 * without an answer not even the first model was worth a call. `fallback`: Rung did not answer, and nobody judged it.
 */
export type Cascaded =
  | { kind: "accepted"; answer: Answer; verdict: AssessReply }
  | { kind: "abstained"; answer?: Answer; verdict?: AssessReply }
  | { kind: "fallback"; answer: Answer; decision: FallbackDecision };

/** What a cascade asks Rung and the application; `NotAnswered` where Rung does not answer. */
export interface Steps {
  plan(request: PlanCascadeRequest): Promise<PlanCascadeReply | NotAnswered>;
  assess(request: AssessRequest): Promise<AssessReply | NotAnswered>;
  call(model: string): Promise<Answer | string>;
}

export async function cascade(
  request: PlanCascadeRequest,
  fallback: Required<Fallback>,
  steps: Steps,
): Promise<Cascaded> {
  const call = async (model: string): Promise<Answer> => {
    const said = await steps.call(model);
    return typeof said === "string" ? { text: said } : said;
  };
  /** The fallback's model answers, unless the answer at hand is already its. */
  const withoutRung = async (failure: NotAnswered, atHand?: [string, Answer]): Promise<Cascaded> => {
    const decision = fallBack(fallback, failure);
    const answer = atHand?.[0] === decision.model ? atHand[1] : await call(decision.model);
    return { kind: "fallback", answer, decision };
  };
  const plan = await steps.plan(request);
  if (plan instanceof NotAnswered) {
    return withoutRung(plan);
  }
  if (plan.verdict !== "CASCADE_VERDICT_ESCALATE") {
    return { kind: "abstained" };
  }
  let { token, nextModel: model } = plan;
  // Each verdict moves on by a stage at least, so there are no more of them than stages.
  for (const _ of plan.stages) {
    const answer = await call(model);
    const verdict = await steps.assess(assessing(request, token, answer));
    if (verdict instanceof NotAnswered) {
      return withoutRung(verdict, [model, answer]);
    }
    if (verdict.verdict === "CASCADE_VERDICT_ACCEPT") {
      return { kind: "accepted", answer, verdict };
    }
    if (verdict.verdict !== "CASCADE_VERDICT_ESCALATE") {
      return { kind: "abstained", answer, verdict };
    }
    ({ token, nextModel: model } = verdict);
  }
  return withoutRung(new NotAnswered("broken", "a cascade that goes on beyond its stages"));
}

function assessing(planned: PlanCascadeRequest, token: string, answer: Answer): AssessRequest {
  // What the plan was asked, but for the two fields that only a plan has.
  const { cascade: _cascade, deadlineMs: _deadlineMs, ...asked } = planned;
  return {
    ...(asked as AssessRequest),
    token,
    answer: answer.text,
    ...(answer.signals === undefined ? {} : { signals: answer.signals }),
    ...(answer.costUsd === undefined ? {} : { costUsd: answer.costUsd }),
  };
}
