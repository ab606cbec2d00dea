"""Both clients against a server that fails as it is told."""

from __future__ import annotations

import threading

import grpc
import pytest
import rung
from conftest import Call
from double import failing, hanging, nobody, serving, well
from rung.v1.router_pb2 import TIER_STRONG, TIER_WEAK, RouteRequest

UNAVAILABLE = failing(grpc.StatusCode.UNAVAILABLE)
FULL = failing(grpc.StatusCode.RESOURCE_EXHAUSTED, retry_after_s=0.001)


@pytest.mark.parametrize(("failures", "attempts"), [(0, 1), (1, 2), (2, 3), (2, 2), (5, 3), (1, 1)])
def test_what_may_pass_is_tried_again_as_often_as_allowed(call: Call, failures: int, attempts: int) -> None:
    for step, reason in ((UNAVAILABLE, rung.Reason.UNREACHABLE), (FULL, rung.Reason.OVERLOADED)):
        with serving(*[step] * failures, well) as (address, double):
            decision = call(address, "route", "hello", retry=rung.Retry(attempts=attempts))
            assert len(double.asked) == min(failures + 1, attempts)
            if failures < attempts:
                assert isinstance(decision, rung.Routed)
                assert (decision.model, decision.win_probability) == ("small-model", 0.25)
            else:
                assert isinstance(decision, rung.FallbackDecision)
                assert (decision.model, decision.tier) == ("big-model", TIER_STRONG)
                assert decision.reason is reason
            # No attempt is given more than the call; on the wire a timeout is rounded up.
            assert all(asked["left"] <= 21.0 for asked in double.asked)


@pytest.mark.parametrize(
    "code", ["INVALID_ARGUMENT", "UNAUTHENTICATED", "PERMISSION_DENIED", "FAILED_PRECONDITION", "NOT_FOUND"]
)
def test_a_refusal_is_no_fallback_and_is_asked_once(call: Call, code: str) -> None:
    with serving(failing(grpc.StatusCode[code])) as (address, double):
        with pytest.raises(rung.Refused, match=code):
            call(address, "route", "hello")
        assert len(double.asked) == 1


def test_a_spent_budget_is_a_refusal(call: Call) -> None:
    spent = failing(grpc.StatusCode.RESOURCE_EXHAUSTED, reason="BUDGET_SPENT")
    with serving(spent) as (address, double):
        with pytest.raises(rung.Refused):
            call(address, "route", "hello")
        assert len(double.asked) == 1


@pytest.mark.parametrize("code", ["INTERNAL", "UNKNOWN", "DATA_LOSS", "ABORTED"])
def test_a_broken_server_is_asked_once(call: Call, code: str) -> None:
    with serving(failing(grpc.StatusCode[code])) as (address, double):
        assert call(address, "route", "hello").reason is rung.Reason.BROKEN
        assert len(double.asked) == 1


def test_a_wish_to_be_left_alone_beyond_the_deadline_ends_the_call(call: Call) -> None:
    with serving(failing(grpc.StatusCode.RESOURCE_EXHAUSTED, retry_after_s=3_600.0)) as (address, double):
        assert call(address, "route", "hello").reason is rung.Reason.OVERLOADED
        assert len(double.asked) == 1


def test_who_is_too_late_or_away_is_replaced(call: Call) -> None:
    with serving(hanging(threading.Event())) as (address, double):
        decision = call(address, "route", "hello", deadline=1.0, fallback=rung.Fallback("tiny", weak=True))
        assert (decision.model, decision.tier, decision.reason) == ("tiny", TIER_WEAK, rung.Reason.TOO_LATE)
        assert len(double.asked) == 1
    assert call(nobody(), "route", "hello").reason is rung.Reason.UNREACHABLE
    with pytest.raises(rung.NotAnswered, match="unreachable"):
        call(nobody(), "info", report_deadline=20.0)


def test_a_hedge_is_one_more_and_off_by_default(call: Call) -> None:
    second_came = threading.Event()

    def second(_: grpc.ServicerContext) -> None:
        second_came.set()

    with serving(hanging(second_came), second, hanging(threading.Event())) as (address, double):
        assert isinstance(call(address, "route", "hello", hedge=rung.Hedge(after=0.01)), rung.Routed)
        assert len(double.asked) == 2
    never = threading.Event()
    with serving(hanging(never)) as (address, double):
        decision = call(address, "route", "hello", hedge=rung.Hedge(after=0.01), deadline=2.0)
        assert decision.reason is rung.Reason.TOO_LATE
        assert len(double.asked) == 2
    with serving(well) as (address, double):
        assert isinstance(call(address, "route", "hello", hedge=rung.Hedge(after=20.0)), rung.Routed)
        assert len(double.asked) == 1
    # One fails: the other's answer counts, and there is no third.
    with serving(hanging(second_came), UNAVAILABLE, well) as (address, double):
        assert isinstance(call(address, "route", "hello", hedge=rung.Hedge(after=0.01)), rung.Routed)
        assert len(double.asked) <= 2


def test_a_batch_has_a_decision_or_a_refusal_for_each(call: Call) -> None:
    with serving(well) as (address, _):
        routed, wrong, full, spent = call(address, "route_batch", ["a", "b", RouteRequest(text="c"), "d"])
        assert isinstance(routed, rung.Routed)
        assert isinstance(wrong, rung.Refused) and wrong.code is grpc.StatusCode.INVALID_ARGUMENT
        assert isinstance(full, rung.FallbackDecision) and full.reason is rung.Reason.OVERLOADED
        assert isinstance(spent, rung.Refused)
    away = call(nobody(), "route_batch", ["a", "b"])
    assert [decision.reason for decision in away] == [rung.Reason.UNREACHABLE] * 2


def test_a_cascade_without_rung_ends_at_the_fallback_once(call: Call) -> None:
    called: list[str] = []

    def answer(model: str) -> str:
        called.append(model)
        return f"by {model}"

    ended = call(nobody(), "cascade", "hello", answer)
    assert isinstance(ended, rung.FellBack) and ended.answer.text == "by big-model"
    assert called == ["big-model"]
    # Rung goes away after the first answer; and: the answer at hand is already the fallback's.
    for fallback, expected in (("big-model", ["small-model", "big-model"]), ("small-model", ["small-model"])):
        called.clear()
        with serving(well, failing(grpc.StatusCode.INTERNAL)) as (address, _):
            ended = call(address, "cascade", "hello", answer, fallback=fallback)
        assert isinstance(ended, rung.FellBack) and ended.decision.reason is rung.Reason.BROKEN
        assert called == expected
    called.clear()
    with serving(well) as (address, _):
        ended = call(address, "cascade", "hello", answer)
    assert isinstance(ended, rung.FellBack), "a cascade without an end was followed"
    assert called == ["small-model", "big-model", "big-model"]


def test_token_tenant_labels_and_priority_travel(call: Call) -> None:
    with serving(well) as (address, double):
        call(address, "route", "hello", token="rung_app_secret", tenant="acme")
        with rung.Client(address, fallback="big-model", deadline=20.0) as client:
            client.route(RouteRequest(text="hi"), labels={"team": "support"}, priority=rung.Priority.LOW)
        first, second = double.asked
        assert first["headers"]["authorization"] == "Bearer rung_app_secret"
        assert first["headers"]["x-rung-tenant"] == "acme"
        assert "authorization" not in second["headers"]
        assert dict(second["request"].labels) == {"team": "support", "priority": "low"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"address": "localhost"},
        {"address": "http://localhost:1"},
        {"deadline": 0.0},
        {"deadline": float("nan")},
        {"report_deadline": -1.0},
        {"retry": rung.Retry(attempts=0)},
        {"token": "a\nb"},
        {"address": "rung.example:1", "token": "rung_app_secret"},
    ],
)
def test_what_cannot_work_is_refused_at_once(wrong: dict[str, object]) -> None:
    arguments = {"address": "localhost:1", "fallback": "big-model", **wrong}
    with pytest.raises(ValueError):
        rung.Client(**arguments)  # type: ignore[arg-type]


def test_secrets_are_not_shown() -> None:
    with rung.Client("localhost:1", fallback="big-model", token="rung_app_secret") as client:
        assert "secret" not in repr(client._config)
    assert "secret" not in repr(rung.Tls(key=b"secret"))
