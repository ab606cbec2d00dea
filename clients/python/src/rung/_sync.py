"""The client for threads. `rung.aio` is the same for asyncio."""

from __future__ import annotations

import queue
import random
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TypeVar

import grpc

from rung import _cascade, _messages
from rung._attempts import Attempts, Budget
from rung._cascade import Answer, Cascaded
from rung._config import Config, Fallback, Hedge, Priority, Retry, Tls, fallback_of
from rung._decision import Decision, Failure, NotAnswered, Reason, Refused, judge, too_late
from rung.v1 import cascade_pb2, outcomes_pb2, router_pb2, semantic_pb2

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")


class Client:
    """A client of one Rung; threads may share it. It connects with its first call, and again whenever it must.

    `fallback` is the (strong) model to call when Rung does not decide. `deadline` (seconds) is what a decision or a verdict
    may take, all attempts together; `report_deadline` what a report may take, which is answered once it is on disk.
    """

    def __init__(
        self,
        address: str,
        *,
        fallback: Fallback | str,
        tls: Tls | None = None,
        token: str | None = None,
        tenant: str | None = None,
        allow_plaintext_token: bool = False,
        deadline: float = 0.05,
        report_deadline: float = 2.0,
        retry: Retry = Retry(),
        hedge: Hedge | None = None,
    ) -> None:
        self._config = Config(
            address,
            fallback_of(fallback),
            tls,
            token,
            tenant,
            allow_plaintext_token,
            deadline,
            report_deadline,
            retry,
            hedge,
        )
        self._budget = Budget()
        credentials, options = self._config.credentials, self._config.options
        if credentials is None:
            self._channel = grpc.insecure_channel(address, options)
        else:
            self._channel = grpc.secure_channel(address, credentials, options)
        call = self._channel.unary_unary
        plan, assess = cascade_pb2.PlanCascadeRequest, cascade_pb2.AssessRequest
        self._route = call(
            _messages.ROUTE,
            router_pb2.RouteRequest.SerializeToString,
            router_pb2.RouteResponse.FromString,
        )
        self._batch = call(
            _messages.ROUTE_BATCH,
            router_pb2.RouteBatchRequest.SerializeToString,
            router_pb2.RouteBatchResponse.FromString,
        )
        self._info = call(
            _messages.GET_INFO, router_pb2.GetInfoRequest.SerializeToString, router_pb2.GetInfoResponse.FromString
        )
        self._plan = call(
            _messages.PLAN_CASCADE, plan.SerializeToString, cascade_pb2.PlanCascadeResponse.FromString
        )
        self._assess = call(_messages.ASSESS, assess.SerializeToString, cascade_pb2.AssessResponse.FromString)
        self._report = call(
            _messages.REPORT_OUTCOME,
            outcomes_pb2.ReportOutcomeRequest.SerializeToString,
            outcomes_pb2.ReportOutcomeResponse.FromString,
        )
        self._match = call(
            _messages.MATCH, semantic_pb2.MatchRequest.SerializeToString, semantic_pb2.MatchResponse.FromString
        )

    def route(
        self,
        query: str | router_pb2.RouteRequest,
        *,
        labels: Mapping[str, str] | None = None,
        priority: Priority | None = None,
    ) -> Decision:
        """Which model to call. Raises `Refused` only; where Rung does not answer, the decision is the fallback."""
        asked = _messages.question(query, labels, priority)
        answered = self._answered(self._route, asked, self._config.deadline, self._config.hedge)
        return _messages.decided(self._config.fallback, answered)

    def route_batch(self, queries: Iterable[str | router_pb2.RouteRequest]) -> list[Decision | Refused]:
        """Which models to call: one decision or refusal per query, in the same order."""
        asked = _messages.batch(queries)
        answered = self._answered(self._batch, asked, self._config.deadline)
        return _messages.batch_decided(self._config.fallback, asked, answered)

    def plan_cascade(self, request: cascade_pb2.PlanCascadeRequest) -> cascade_pb2.PlanCascadeResponse:
        """Which model of a cascade to call first; `cascade` goes through all of it."""
        return self._call(self._plan, request, self._config.deadline)

    def assess(self, request: cascade_pb2.AssessRequest) -> cascade_pb2.AssessResponse:
        """What becomes of an answer. Safe to be asked again: the same token and answer get the same verdict."""
        return self._call(self._assess, request, self._config.deadline)

    def report_outcome(
        self, report: outcomes_pb2.ReportOutcomeRequest
    ) -> outcomes_pb2.ReportOutcomeResponse:
        """Reports what came of a decision. Safe to be sent again: a source is heard once."""
        return self._call(self._report, report, self._config.report_deadline)

    def match(self, request: semantic_pb2.MatchRequest) -> semantic_pb2.MatchResponse:
        """What a query is about."""
        return self._call(self._match, request, self._config.deadline)

    def info(self) -> router_pb2.GetInfoResponse:
        """What is loaded. Asked once at the start, it also opens the connection; it has the time of a report."""
        return self._call(self._info, router_pb2.GetInfoRequest(), self._config.report_deadline)

    def cascade(
        self, query: str | cascade_pb2.PlanCascadeRequest, call: Callable[[str], Answer | str]
    ) -> Cascaded:
        """Brings a query through a cascade; `call` calls the model of that name.

        Where Rung does not answer, the model of the fallback is called, unless the answer at hand is already its.
        """
        steps = _cascade.steps(_cascade.planning(query), self._config.fallback)
        step = next(steps)
        while True:
            came: _cascade.Came
            if isinstance(step, _cascade.CallModel):
                came = _cascade.answer_of(call(step.model))
            elif isinstance(step, cascade_pb2.PlanCascadeRequest):
                came = self._answered(self._plan, step, self._config.deadline)
            else:
                came = self._answered(self._assess, step, self._config.deadline)
            try:
                step = steps.send(came)
            except StopIteration as end:
                cascaded: Cascaded = end.value
                return cascaded

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answered(
        self,
        method: grpc.UnaryUnaryMultiCallable[Asked, Answered],
        request: Asked,
        limit: float,
        hedge: Hedge | None = None,
    ) -> Answered | NotAnswered:
        try:
            return self._call(method, request, limit, hedge)
        except NotAnswered as failure:
            return failure

    def _call(
        self,
        method: grpc.UnaryUnaryMultiCallable[Asked, Answered],
        request: Asked,
        limit: float,
        hedge: Hedge | None = None,
    ) -> Answered:
        end = time.monotonic() + limit
        attempts = Attempts(self._config.retry, self._budget, end)
        while True:
            try:
                if hedge is None:
                    answer = self._once(method, request, end)
                else:
                    answer = self._hedged(method, request, end, hedge.after)
            except (Refused, NotAnswered) as failure:
                wait = attempts.next(failure, time.monotonic(), random.random())
                if wait is None:
                    raise
                time.sleep(wait)
            else:
                self._budget.succeeded()
                return answer
            hedge = None

    def _once(
        self, method: grpc.UnaryUnaryMultiCallable[Asked, Answered], request: Asked, end: float
    ) -> Answered:
        left = end - time.monotonic()
        if left <= 0:
            raise too_late()
        try:
            return method(request, timeout=left, metadata=self._config.metadata)
        except grpc.RpcError as error:
            raise _failure(error) from error

    def _hedged(
        self,
        method: grpc.UnaryUnaryMultiCallable[Asked, Answered],
        request: Asked,
        end: float,
        after: float,
    ) -> Answered:
        """One attempt, and a second beside it when the first takes longer. The first answer counts; a failure only when
        both have failed, or when it is a refusal, which the other would get too."""
        done: queue.SimpleQueue[grpc.Future[Answered]] = queue.SimpleQueue()

        def start() -> grpc.Future[Answered]:
            left = max(0.0, end - time.monotonic())
            future = method.future(request, timeout=left, metadata=self._config.metadata)
            future.add_done_callback(done.put)
            return future

        started = [start()]
        try:
            try:
                first = done.get(timeout=after)
            except queue.Empty:
                if self._budget.allows():
                    started.append(start())
                first = done.get()
            failure = _failed(first)
            if isinstance(failure, NotAnswered) and len(started) == 2:
                first = done.get()
                failure = _failed(first)
            if failure is not None:
                raise failure
            answer: Answered = first.result()
            return answer
        finally:
            for future in started:
                future.cancel()


def _failed(future: grpc.Future[Answered]) -> Failure | None:
    error = future.exception()
    return None if error is None else _failure(error)


def _failure(error: BaseException) -> Failure:
    if isinstance(error, grpc.Call):
        return judge(error.code(), error.details() or "", tuple(error.trailing_metadata() or ()))
    return NotAnswered(Reason.BROKEN, str(error))
