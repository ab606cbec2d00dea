"""How Rung is reached, what a call may take, and what is done without it. Checked once, when a client is made."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

import grpc

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
# A channel that was refused tries again soon: a server that is back is used within seconds.
_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 3_000),
    ("grpc.keepalive_time_ms", 20_000),
    # Retries are ours, within the caller's deadline.
    ("grpc.enable_retries", 0),
)


class Priority(enum.Enum):
    """Who is turned away first when Rung has more to do than it can."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"

    @property
    def label(self) -> dict[str, str]:
        """The label of a request that says so."""
        return {"priority": self.value}


@dataclass(frozen=True)
class Fallback:
    """The model that is called when Rung does not decide; strong, unless `weak` is said in so many words."""

    model: str
    weak: bool = False


@dataclass(frozen=True)
class Tls:
    """TLS: whom to trust (the system's authorities where `ca` is absent), and who we are. All of it PEM."""

    ca: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = field(default=None, repr=False)
    server_name: str | None = None


@dataclass(frozen=True)
class Retry:
    """When a call that was not answered is made again: attempts with the first one, waits in seconds."""

    attempts: int = 3
    first_backoff: float = 0.005
    longest_backoff: float = 0.025


@dataclass(frozen=True)
class Hedge:
    """Asks for a decision a second time, once, when there is no answer after so many seconds."""

    after: float


@dataclass(frozen=True)
class Config:
    """Everything a client is made of; its fields are the arguments of `Client`."""

    address: str
    fallback: Fallback
    tls: Tls | None = None
    token: str | None = field(default=None, repr=False)
    tenant: str | None = None
    allow_plaintext_token: bool = False
    deadline: float = 0.05
    report_deadline: float = 2.0
    retry: Retry = Retry()
    hedge: Hedge | None = None

    def __post_init__(self) -> None:
        host, colon, port = self.address.rpartition(":")
        if not host or not colon or not port.isdigit() or "/" in host:
            raise ValueError(f"{self.address}: not host:port")
        for what, value in (("deadline", self.deadline), ("report_deadline", self.report_deadline)):
            if not value > 0:
                raise ValueError(f"{what} must be above 0")
        if self.retry.attempts < 1:
            raise ValueError("retry.attempts must be above 0")
        if self.token is not None and self.tls is None and not self.allow_plaintext_token:
            if host not in _LOOPBACK:
                raise ValueError(f"a token over plain text to {self.address}: give TLS, or allow_plaintext_token")
        for what, text in (("token", self.token), ("tenant", self.tenant)):
            if text is not None and not (text.isascii() and text.isprintable()):
                raise ValueError(f"the {what} holds what a header cannot")

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The headers of every call."""
        pairs: list[tuple[str, str]] = []
        if self.token is not None:
            pairs.append(("authorization", f"Bearer {self.token}"))
        if self.tenant is not None:
            pairs.append(("x-rung-tenant", self.tenant))
        return tuple(pairs)

    @property
    def options(self) -> tuple[tuple[str, int | str], ...]:
        """Of the channel."""
        if self.tls is not None and self.tls.server_name is not None:
            return (*_OPTIONS, ("grpc.ssl_target_name_override", self.tls.server_name))
        return _OPTIONS

    @property
    def credentials(self) -> grpc.ChannelCredentials | None:
        """Of the channel; none without TLS."""
        if self.tls is None:
            return None
        return grpc.ssl_channel_credentials(self.tls.ca, self.tls.key, self.tls.certificate)


def fallback_of(fallback: Fallback | str) -> Fallback:
    """A model's name alone is the strong one's."""
    return Fallback(fallback) if isinstance(fallback, str) else fallback
