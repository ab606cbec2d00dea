"""From arguments to messages and from answers to decisions: what the sync and the asyncio client have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from rung._config import Fallback, Priority
from rung._decision import CODES, Decision, NotAnswered, Reason, Refused, Routed, fall_back, judge
from rung.v1 import router_pb2

ROUTE: Final = "/rung.v1.RouterService/Route"
ROUTE_BATCH: Final = "/rung.v1.RouterService/RouteBatch"
GET_INFO: Final = "/rung.v1.RouterService/GetInfo"
PLAN_CASCADE: Final = "/rung.v1.CascadeService/PlanCascade"
ASSESS: Final = "/rung.v1.CascadeService/Assess"
REPORT_OUTCOME: Final = "/rung.v1.OutcomeService/ReportOutcome"
MATCH: Final = "/rung.v1.SemanticService/Match"


def question(
    query: str | router_pb2.RouteRequest,
    labels: Mapping[str, str] | None = None,
    priority: Priority | None = None,
) -> router_pb2.RouteRequest:
    """A request of a text, or of a message, which is left as it is."""
    request = router_pb2.RouteRequest()
    if isinstance(query, str):
        request.text = query
    else:
        request.CopyFrom(query)
    request.labels.update(labels or {})
    request.labels.update(priority.label if priority else {})
    return request


def batch(queries: Iterable[str | router_pb2.RouteRequest]) -> router_pb2.RouteBatchRequest:
    """Many questions."""
    return router_pb2.RouteBatchRequest(requests=[question(query) for query in queries])


def decided(fallback: Fallback, answered: router_pb2.RouteResponse | NotAnswered) -> Decision:
    """Rung's decision or the fallback."""
    return fall_back(fallback, answered) if isinstance(answered, NotAnswered) else Routed(answered)


def batch_decided(
    fallback: Fallback, asked: router_pb2.RouteBatchRequest, answered: router_pb2.RouteBatchResponse | NotAnswered
) -> list[Decision | Refused]:
    """One decision or refusal per question, in the same order."""
    if isinstance(answered, NotAnswered):
        return [fall_back(fallback, answered) for _ in asked.requests]
    return [_item(fallback, item) for item in answered.items]


def _item(fallback: Fallback, item: router_pb2.RouteItem) -> Decision | Refused:
    if item.HasField("response"):
        return Routed(item.response)
    if not item.HasField("error") or item.error.code not in CODES:
        return fall_back(fallback, NotAnswered(Reason.BROKEN, "an item of a batch cannot be read"))
    failure = judge(CODES[item.error.code], item.error.message, reason=item.error.reason)
    return fall_back(fallback, failure) if isinstance(failure, NotAnswered) else failure

