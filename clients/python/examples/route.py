"""Routes one query: `python route.py 127.0.0.1:50051 "Where is my parcel?"` prints the decision as JSON.

A token, a tenant and files for TLS are taken from RUNG_TOKEN, RUNG_TENANT, RUNG_CA, RUNG_CERT and RUNG_KEY; with RUNG_ASYNC
the asyncio client asks.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

import rung
from rung.v1.router_pb2 import Tier


def tls() -> rung.Tls | None:
    """What the environment says of TLS."""
    ca, certificate, key = (
        Path(path).read_bytes() if (path := os.environ.get(name)) else None
        for name in ("RUNG_CA", "RUNG_CERT", "RUNG_KEY")
    )
    return rung.Tls(ca, certificate, key) if ca else None


def ask(address: str, text: str) -> rung.Decision:
    """The decision on a text."""
    token, tenant = os.environ.get("RUNG_TOKEN"), os.environ.get("RUNG_TENANT")
    if "RUNG_ASYNC" not in os.environ:
        with rung.Client(
            address, fallback="big-model", tls=tls(), token=token, tenant=tenant, deadline=10.0
        ) as client:
            return client.route(text)

    async def ask_async() -> rung.Decision:
        async with rung.aio.Client(
            address, fallback="big-model", tls=tls(), token=token, tenant=tenant, deadline=10.0
        ) as client:
            return await client.route(text)

    return asyncio.run(ask_async())


def main(arguments: list[str]) -> None:
    if len(arguments) != 2:
        raise SystemExit("usage: python route.py ADDRESS TEXT")
    try:
        decision = ask(*arguments)
    except rung.Refused as refused:
        raise SystemExit(str(refused)) from refused
    if isinstance(decision, rung.Routed):
        tier = Tier.Name(decision.response.tier)
        print(json.dumps({"win_probability": decision.win_probability, "tier": tier, "model": decision.model}))
    else:
        tier = Tier.Name(decision.tier)
        print(json.dumps({"fallback": decision.reason.value, "tier": tier, "model": decision.model}))


if __name__ == "__main__":
    main(sys.argv[1:])
