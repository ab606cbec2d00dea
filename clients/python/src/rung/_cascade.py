"""A query through a cascade: the application calls the models, Rung says which and when it is enough.

`steps` is the way itself, without waiting for anything; the clients do what it yields and send it what came of that.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeAlias

from rung._config import Fallback
from rung._decision import FallbackDecision, NotAnswered, Reason, fall_back
from rung.v1 import cascade_pb2


@dataclass(frozen=True)
class Answer:
    """An answer of a model, and what is known beside its text."""

    text: str
    signals: cascade_pb2.AnswerSignals | None = None
    cost_usd: float | None = None


@dataclass(frozen=True)
class Accepted:
    """The answer was judged good enough; `verdict` has the odds."""

    answer: Answer
    verdict: cascade_pb2.AssessResponse


@dataclass(frozen=True)
class Abstained:
    """No answer is expected to be good enough; without an answer not even the first model was worth a call."""

    answer: Answer | None = None
    verdict: cascade_pb2.AssessResponse | None = None


@dataclass(frozen=True)
class FellBack:
    """Rung did not answer: this is the fallback's answer, and nobody judged it."""

    answer: Answer
    decision: FallbackDecision


Cascaded: TypeAlias = Accepted | Abstained | FellBack


@dataclass(frozen=True)
class CallModel:
    """A step: call this model."""

    model: str


Step: TypeAlias = cascade_pb2.PlanCascadeRequest | cascade_pb2.AssessRequest | CallModel
Came: TypeAlias = cascade_pb2.PlanCascadeResponse | cascade_pb2.AssessResponse | Answer | NotAnswered


def planning(query: str | cascade_pb2.PlanCascadeRequest) -> cascade_pb2.PlanCascadeRequest:
    """A request to plan, of a text or of the message."""
    return cascade_pb2.PlanCascadeRequest(text=query) if isinstance(query, str) else query


def answer_of(said: Answer | str) -> Answer:
    """A text alone is an answer."""
    return Answer(said) if isinstance(said, str) else said


def steps(request: cascade_pb2.PlanCascadeRequest, fallback: Fallback) -> Generator[Step, Came, Cascaded]:
    """From the plan to the end."""
    plan = yield request
    if isinstance(plan, NotAnswered):
        return (yield from _without_rung(fallback, plan, None))
    assert isinstance(plan, cascade_pb2.PlanCascadeResponse)
    if plan.verdict != cascade_pb2.CASCADE_VERDICT_ESCALATE:
        return Abstained()
    token, model = plan.token, plan.next_model
    # Each verdict moves on by a stage at least, so there are no more of them than stages.
    for _ in plan.stages:
        answer = yield CallModel(model)
        assert isinstance(answer, Answer)
        verdict = yield _assessing(request, token, answer)
        if isinstance(verdict, NotAnswered):
            return (yield from _without_rung(fallback, verdict, (model, answer)))
        assert isinstance(verdict, cascade_pb2.AssessResponse)
        if verdict.verdict == cascade_pb2.CASCADE_VERDICT_ACCEPT:
            return Accepted(answer, verdict)
        if verdict.verdict != cascade_pb2.CASCADE_VERDICT_ESCALATE:
            return Abstained(answer, verdict)
        token, model = verdict.token, verdict.next_model
    endless = NotAnswered(Reason.BROKEN, "a cascade that goes on beyond its stages")
    return (yield from _without_rung(fallback, endless, None))


def _without_rung(
    fallback: Fallback, failure: NotAnswered, at_hand: tuple[str, Answer] | None
) -> Generator[Step, Came, Cascaded]:
    """The fallback's model answers, unless the answer at hand is already its."""
    decision = fall_back(fallback, failure)
    if at_hand is not None and at_hand[0] == decision.model:
        return FellBack(at_hand[1], decision)
    answer = yield CallModel(decision.model)
    assert isinstance(answer, Answer)
    return FellBack(answer, decision)


def _assessing(
    planned: cascade_pb2.PlanCascadeRequest, token: str, answer: Answer
) -> cascade_pb2.AssessRequest:
    request = cascade_pb2.AssessRequest(
        request_id=planned.request_id,
        answer=answer.text,
        token=token,
        signals=answer.signals,
        labels=planned.labels,
        cost_usd=answer.cost_usd,
        predicted_success=planned.predicted_success,
    )
    if planned.HasField("chat"):
        request.chat.CopyFrom(planned.chat)
    elif planned.HasField("text"):
        request.text = planned.text
    if planned.HasField("system"):
        request.system = planned.system
    return request
