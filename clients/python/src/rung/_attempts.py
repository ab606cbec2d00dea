"""The attempts of one call: how many, how far apart, until when. Pure: time and chance are arguments."""

from __future__ import annotations

import threading

from rung._config import Retry
from rung._decision import Failure, NotAnswered

_FULL = 10.0
_SUCCESS = 0.1


class Budget:
    """How many retries all calls of a client may make together: gRPC's throttling of retries (its proposal A6).

    Ten tokens: a failure takes one, a success gives a tenth, above half of them there are retries. A server that fails
    most calls is not asked twice as often for it.
    """

    def __init__(self) -> None:
        self._tokens = _FULL
        self._lock = threading.Lock()

    def succeeded(self) -> None:
        """A call was answered."""
        with self._lock:
            self._tokens = min(_FULL, self._tokens + _SUCCESS)

    def failed(self) -> None:
        """An attempt was not answered, and could be made again."""
        with self._lock:
            self._tokens = max(0.0, self._tokens - 1)

    def allows(self) -> bool:
        """Whether another request may be made than the one that the caller asked for."""
        return self._tokens > _FULL / 2


class Attempts:
    """The attempts of one call, whose first is made now and which is over at `end`."""

    def __init__(self, retry: Retry, budget: Budget, end: float) -> None:
        self._retry = retry
        self._budget = budget
        self._end = end
        self._made = 1

    def next(self, failure: Failure, now: float, chance: float) -> float | None:
        """How long to wait for the next attempt; None: there is none. `chance` is uniform in [0, 1)."""
        if not isinstance(failure, NotAnswered) or not failure.retry:
            return None
        self._budget.failed()
        if self._made >= self._retry.attempts or not self._budget.allows():
            return None
        # Full jitter on top of what the server asks for: callers do not come back together.
        most = min(self._retry.longest_backoff, self._retry.first_backoff * 2.0 ** min(self._made - 1, 60))
        wait = failure.retry_after + most * chance
        if now + wait >= self._end:
            return None
        self._made += 1
        return wait
