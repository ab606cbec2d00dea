"""A thin client of Rung: deadlines, bounded retries, and a decision even where Rung does not answer.

    client = rung.Client("127.0.0.1:50051", fallback="big-model")
    decision = client.route("Where is my parcel?")

`rung.aio.Client` is the same for asyncio. Messages are those of `rung.v1`; streams and administration are called with
its generated stubs (`rung.v1.router_pb2_grpc`).
"""

from rung import aio
from rung._cascade import Abstained, Accepted, Answer, Cascaded, FellBack
from rung._config import Fallback, Hedge, Priority, Retry, Tls
from rung._decision import Decision, FallbackDecision, NotAnswered, Reason, Refused, Routed
from rung._sync import Client

__all__ = [
    "Abstained",
    "Accepted",
    "Answer",
    "Cascaded",
    "Client",
    "Decision",
    "Fallback",
    "FallbackDecision",
    "FellBack",
    "Hedge",
    "NotAnswered",
    "Priority",
    "Reason",
    "Refused",
    "Retry",
    "Routed",
    "Tls",
    "aio",
]
