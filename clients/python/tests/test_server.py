"""Both clients against the real server, whose address is in RUNG_ADDRESS (and, with a verifier, in RUNG_CASCADE_ADDRESS)."""

from __future__ import annotations

import os

import pytest
import rung
from conftest import Call
from rung.v1 import cascade_pb2, outcomes_pb2, semantic_pb2

ADDRESS = os.environ.get("RUNG_ADDRESS", "")
CASCADE_ADDRESS = os.environ.get("RUNG_CASCADE_ADDRESS", "")
pytestmark = pytest.mark.skipif(not ADDRESS, reason="no server (RUNG_ADDRESS)")


def test_one_decision_and_many(call: Call) -> None:
    one = call(ADDRESS, "route", "Where is my parcel?")
    assert isinstance(one, rung.Routed) and one.response.decision_id
    first, second, third = call(ADDRESS, "route_batch", ["Where is my parcel?", "", "Prove it."])
    assert isinstance(first, rung.Routed) and isinstance(third, rung.Routed)
    assert first.win_probability == one.win_probability
    assert isinstance(second, rung.Routed)
    assert call(ADDRESS, "info").artifact


def test_an_outcome_is_heard_once(call: Call) -> None:
    decision = call(ADDRESS, "route", "Where is my parcel?")
    assert isinstance(decision, rung.Routed)
    report = outcomes_pb2.ReportOutcomeRequest(
        decision_id=decision.response.decision_id, source="app", thumbs=outcomes_pb2.Thumbs(up=True)
    )
    assert call(ADDRESS, "report_outcome", report).status == outcomes_pb2.OUTCOME_STATUS_RECORDED
    assert call(ADDRESS, "report_outcome", report).status == outcomes_pb2.OUTCOME_STATUS_DUPLICATE


def test_a_wrong_request_is_refused(call: Call) -> None:
    with pytest.raises(rung.Refused, match="decision_id"):
        call(ADDRESS, "report_outcome", outcomes_pb2.ReportOutcomeRequest(decision_id="x"))
    with pytest.raises(rung.Refused):
        # This server has no catalogue of intents.
        call(ADDRESS, "match", semantic_pb2.MatchRequest(text="hello"))


@pytest.mark.skipif(not CASCADE_ADDRESS, reason="no server with a verifier (RUNG_CASCADE_ADDRESS)")
def test_a_cascade_ends_where_an_answer_is_good_enough(call: Call) -> None:
    # The verifier of the tests likes long answers.
    lengths = {"small": 100, "medium": 60, "large": 1_000}
    called: list[str] = []

    def answer(model: str) -> rung.Answer:
        called.append(model)
        return rung.Answer("x" * lengths[model], cascade_pb2.AnswerSignals(finish_reason="stop"))

    ended = call(CASCADE_ADDRESS, "cascade", "What is 17 * 23?", answer)
    assert isinstance(ended, rung.Accepted) and len(ended.answer.text) == 1_000
    assert called == ["small", "medium", "large"]
    lengths["small"] = 1
    assert isinstance(call(CASCADE_ADDRESS, "cascade", "What is 17 * 23?", answer), rung.Abstained)
