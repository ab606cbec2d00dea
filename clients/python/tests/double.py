"""A server that does what a script says, attempt by attempt, and remembers what it was asked."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from rung.v1 import cascade_pb2, cascade_pb2_grpc, router_pb2, router_pb2_grpc

Step = Callable[[grpc.ServicerContext], None]


def well(_: grpc.ServicerContext) -> None:
    """Answers."""


def failing(code: grpc.StatusCode, retry_after_s: float | None = None, reason: str = "") -> Step:
    """Fails with this status and these details."""
    status = status_pb2.Status(code=code.value[0], message="scripted")
    if retry_after_s is not None:
        wait = Duration(nanos=int(retry_after_s % 1 * 1e9), seconds=int(retry_after_s))
        detail = AnyMessage()
        detail.Pack(error_details_pb2.RetryInfo(retry_delay=wait))
        status.details.append(detail)
    if reason:
        detail = AnyMessage()
        detail.Pack(error_details_pb2.ErrorInfo(reason=reason, domain="rung"))
        status.details.append(detail)

    def step(context: grpc.ServicerContext) -> None:
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(code, "scripted")

    return step


def hanging(until: threading.Event) -> Step:
    """Answers once something has happened, or the caller has gone."""

    def step(context: grpc.ServicerContext) -> None:
        while context.is_active() and not until.wait(0.005):
            pass

    return step


@dataclass
class Double(router_pb2_grpc.RouterServiceServicer, cascade_pb2_grpc.CascadeServiceServicer):
    """The last step of the script is repeated."""

    script: list[Step] = field(default_factory=lambda: [well])
    asked: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def _next(self, request: Any, context: grpc.ServicerContext) -> None:
        with self.lock:
            step = self.script[min(len(self.asked), len(self.script) - 1)]
            headers = dict(context.invocation_metadata())
            self.asked.append({"request": request, "left": context.time_remaining(), "headers": headers})
        step(context)

    def Route(self, request: Any, context: Any) -> Any:
        self._next(request, context)
        return router_pb2.RouteResponse(model="small-model", win_probability=0.25, tier=router_pb2.TIER_WEAK)

    def RouteBatch(self, request: Any, context: Any) -> Any:
        self._next(request, context)
        of = router_pb2.RouteItem
        error = router_pb2.RouteError
        items = [
            of(response=router_pb2.RouteResponse(model="small-model")),
            of(error=error(code=3, message="text: too long", field="text")),
            of(error=error(code=8, message="full")),
            of(error=error(code=8, message="spent", reason="BUDGET_SPENT")),
        ]
        return router_pb2.RouteBatchResponse(items=items[: len(request.requests)])

    def PlanCascade(self, request: Any, context: Any) -> Any:
        self._next(request, context)
        return cascade_pb2.PlanCascadeResponse(
            stages=[cascade_pb2.CascadeStage(model=name) for name in ("small-model", "big-model")],
            verdict=cascade_pb2.CASCADE_VERDICT_ESCALATE,
            next_model="small-model",
            token="one",
        )

    def Assess(self, request: Any, context: Any) -> Any:
        self._next(request, context)
        # Never content: a cascade that would go on for ever.
        return cascade_pb2.AssessResponse(
            verdict=cascade_pb2.CASCADE_VERDICT_ESCALATE, next_model="big-model", token="two"
        )


@contextmanager
def serving(*script: Step) -> Iterator[tuple[str, Double]]:
    """A double on a free port."""
    double = Double(list(script) or [well])
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    router_pb2_grpc.add_RouterServiceServicer_to_server(double, server)
    cascade_pb2_grpc.add_CascadeServiceServicer_to_server(double, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}", double
    finally:
        server.stop(None).wait()


def nobody() -> str:
    """An address where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"

