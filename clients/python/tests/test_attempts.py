"""The attempts of a call, on a simulated clock."""

from __future__ import annotations

import random

import grpc
import pytest
from rung import NotAnswered, Reason, Refused, Retry
from rung._attempts import Attempts, Budget


def test_never_more_attempts_than_allowed_and_none_after_the_deadline() -> None:
    for seed in range(2_000):
        draw = random.Random(seed)
        allowed, deadline = draw.randint(1, 5), draw.uniform(0.001, 0.2)
        attempts = Attempts(Retry(attempts=allowed), Budget(), deadline)
        now, made = 0.0, 1
        while True:
            now += draw.uniform(0, 0.04)
            again, after = draw.random() < 0.9, draw.choice([0.0, draw.uniform(0, 0.2)])
            failure = NotAnswered(Reason.OVERLOADED, "", retry=again, retry_after=after)
            wait = attempts.next(failure, now, draw.random())
            if wait is None:
                break
            assert again, "what is final was tried again"
            assert wait >= after, "the server asked for more"
            now += wait
            made += 1
            assert now < deadline, "an attempt after the deadline"
        assert made <= allowed, seed


def test_the_wait_doubles_up_to_its_limit_and_the_budget_ends() -> None:
    attempts = Attempts(Retry(attempts=9), Budget(), 60.0)
    again = NotAnswered(Reason.UNREACHABLE, "", retry=True)
    waits = [attempts.next(again, 0.0, 0.5) for _ in range(5)]
    assert waits[:4] == pytest.approx([0.0025, 0.005, 0.01, 0.0125])
    assert waits[4] is None
    refused = Refused(grpc.StatusCode.NOT_FOUND, "")
    assert Attempts(Retry(), Budget(), 60.0).next(refused, 0.0, 0.5) is None


def test_a_server_that_keeps_failing_is_not_asked_again() -> None:
    budget = Budget()
    retries = 0
    for _ in range(100):
        budget.failed()
        retries += budget.allows()
    assert retries == 4
    for _ in range(52):
        budget.succeeded()
    assert budget.allows()
