"""A decision: Rung's, or the application's own for when there is none. And what a status means to a caller."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from rung._config import Fallback
from rung.v1.router_pb2 import RouteResponse, Tier

# The reason in google.rpc.ErrorInfo of a budget that is spent: another try or the strong model is the last thing that its
# owner wants.
BUDGET_SPENT = "BUDGET_SPENT"


class Reason(enum.Enum):
    """Why Rung did not decide."""

    UNREACHABLE = "unreachable"
    TOO_LATE = "too_late"
    OVERLOADED = "overloaded"
    BROKEN = "broken"


class Refused(Exception):
    """Rung refuses the request: it is wrong, not allowed, or over budget. The same again is refused again."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message


class NotAnswered(Exception):
    """Rung did not answer. `route` and `route_batch` never raise it: they fall back."""

    def __init__(
        self, reason: Reason, detail: str, *, retry: bool = False, retry_after: float = 0.0
    ) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail
        self.retry = retry
        self.retry_after = retry_after


Failure: TypeAlias = Refused | NotAnswered


@dataclass(frozen=True)
class Routed:
    """Rung's decision, with its odds and evidence in `response`."""

    response: RouteResponse

    @property
    def model(self) -> str:
        """The model to call."""
        return self.response.model

    @property
    def win_probability(self) -> float:
        """Calibrated P(strong's answer is strictly better | query)."""
        return self.response.win_probability


@dataclass(frozen=True)
class FallbackDecision:
    """The application's own choice, for want of Rung's. It has no odds."""

    model: str
    tier: Tier
    reason: Reason
    detail: str


Decision: TypeAlias = Routed | FallbackDecision


def fall_back(fallback: Fallback, failure: NotAnswered) -> FallbackDecision:
    """What is done without Rung."""
    tier = Tier.TIER_WEAK if fallback.weak else Tier.TIER_STRONG
    return FallbackDecision(fallback.model, tier, failure.reason, failure.detail)


def too_late() -> NotAnswered:
    """The deadline is over."""
    return NotAnswered(Reason.TOO_LATE, "no answer within the deadline")


def judge(
    code: grpc.StatusCode, message: str, trailers: Sequence[tuple[str, str | bytes]] = (), reason: str = ""
) -> Failure:
    """What a status means: refused for good, or not answered, and whether to try again."""
    told = _details(trailers)
    if code is grpc.StatusCode.UNAVAILABLE:
        return NotAnswered(Reason.UNREACHABLE, message, retry=True, retry_after=told.retry_after)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        if BUDGET_SPENT in (reason, told.reason):
            return Refused(code, message)
        return NotAnswered(Reason.OVERLOADED, message, retry=True, retry_after=told.retry_after)
    # CANCELLED is what Rung's own timer says where the deadline ends a call.
    if code in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED):
        return too_late()
    if code in _BROKEN:
        return NotAnswered(Reason.BROKEN, message)
    return Refused(code, message)


_BROKEN = (
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.DATA_LOSS,
    grpc.StatusCode.ABORTED,
)


@dataclass(frozen=True)
class _Told:
    retry_after: float = 0.0
    reason: str = ""


def _details(trailers: Sequence[tuple[str, str | bytes]]) -> _Told:
    """What google.rpc.Status in the trailers says beside the code; nothing where it cannot be read."""
    found = [value for key, value in trailers if key == "grpc-status-details-bin" and isinstance(value, bytes)]
    retry_after, reason = 0.0, ""
    for value in found:
        status = status_pb2.Status()
        try:
            status.ParseFromString(value)
            for detail in status.details:
                retry, info = error_details_pb2.RetryInfo(), error_details_pb2.ErrorInfo()
                if detail.Unpack(retry):
                    retry_after = max(0.0, retry.retry_delay.ToNanoseconds() / 1e9)
                elif detail.Unpack(info):
                    reason = info.reason
        except DecodeError:
            continue
    return _Told(retry_after, reason)


CODES = {code.value[0]: code for code in grpc.StatusCode}
