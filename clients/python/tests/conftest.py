"""Every test of a client runs with the sync one and with the asyncio one."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import rung

Call = Callable[..., Any]


def sync_call(address: str, method: str, *arguments: Any, **config: Any) -> Any:
    """One call of a client that is made for it."""
    with rung.Client(address, **{"fallback": "big-model", "deadline": 20.0, **config}) as client:
        return getattr(client, method)(*arguments)


def async_call(address: str, method: str, *arguments: Any, **config: Any) -> Any:
    """The same with the asyncio client; what the arguments call is made asynchronous."""

    def awaitable(argument: Any) -> Any:
        if not inspect.isfunction(argument):
            return argument

        async def wrapped(*inner: Any) -> Any:
            return argument(*inner)

        return wrapped

    async def call() -> Any:
        async with rung.aio.Client(address, **{"fallback": "big-model", "deadline": 20.0, **config}) as client:
            return await getattr(client, method)(*map(awaitable, arguments))

    return asyncio.run(call())


@pytest.fixture(params=[sync_call, async_call], ids=["sync", "asyncio"])
def call(request: pytest.FixtureRequest) -> Call:
    """Makes one call."""
    found: Call = request.param
    return found
