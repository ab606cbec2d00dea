"""Route one query: `python route.py 127.0.0.1:50051 "Where is my parcel?"` prints the decision as JSON.

The stubs are generated once into a folder of their own from proto/rung/v1/router.proto.
"""

import json
import pathlib
import sys
import tempfile

import grpc
from grpc_tools import protoc

PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"


def stubs():
    """Generates and imports the stubs."""
    out = tempfile.mkdtemp(prefix="rung-stubs-")
    done = protoc.main(
        ["protoc", f"-I{PROTO}", f"--python_out={out}", f"--grpc_python_out={out}", "rung/v1/router.proto"]
    )
    if done != 0:
        raise SystemExit(f"protoc failed: {done}")
    sys.path.insert(0, out)
    from rung.v1 import router_pb2, router_pb2_grpc

    return router_pb2, router_pb2_grpc


def main(address, text):
    router_pb2, router_pb2_grpc = stubs()
    with grpc.insecure_channel(address) as channel:
        stub = router_pb2_grpc.RouterServiceStub(channel)
        decision = stub.Route(router_pb2.RouteRequest(text=text), timeout=10)
    tier = router_pb2.Tier.Name(decision.tier)
    print(json.dumps({"win_probability": decision.win_probability, "tier": tier, "model": decision.model}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
