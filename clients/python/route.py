"""Routes one query: `python route.py 127.0.0.1:50051 "Where is my parcel?"` prints the decision as JSON.

The stubs are generated from proto/rung/v1/router.proto, into a folder given as the third argument or a temporary one.
"""

import importlib
import json
import sys
import tempfile
from pathlib import Path

import grpc
from grpc_tools import protoc

PROTO_FOLDER = Path(__file__).resolve().parents[2] / "proto"
DEADLINE_S = 10.0


def stubs(folder):
    """Generates the stubs into `folder` and imports them."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    options = [f"-I{PROTO_FOLDER}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    if protoc.main(["protoc", *options, "rung/v1/router.proto"]) != 0:
        raise SystemExit("protoc failed")
    sys.path.insert(0, str(folder))
    return importlib.import_module("rung.v1.router_pb2"), importlib.import_module("rung.v1.router_pb2_grpc")


def route(address, text, stubs_folder):
    """The decision on `text` of the server at `address`."""
    router_pb2, router_pb2_grpc = stubs(stubs_folder)
    with grpc.insecure_channel(address) as channel:
        stub = router_pb2_grpc.RouterServiceStub(channel)
        decision = stub.Route(router_pb2.RouteRequest(text=text), timeout=DEADLINE_S)
    tier = router_pb2.Tier.Name(decision.tier)
    return {"win_probability": decision.win_probability, "tier": tier, "model": decision.model}


def main(arguments):
    if len(arguments) not in (2, 3):
        raise SystemExit("usage: python route.py ADDRESS TEXT [STUBS_FOLDER]")
    try:
        if len(arguments) == 3:
            decision = route(*arguments)
        else:
            with tempfile.TemporaryDirectory(prefix="rung-stubs-") as folder:
                decision = route(*arguments, folder)
    except grpc.RpcError as error:
        raise SystemExit(f"{error.code().name}: {error.details()}") from error
    print(json.dumps(decision))


if __name__ == "__main__":
    main(sys.argv[1:])
