"""Generates the stubs of `proto/` into the package while it is built; pyproject.toml says everything else.

The contract lies outside this folder in a clone, and inside it in a source distribution, into which it is copied.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = Path(__file__).resolve().parent
CONTRACTS = ("router", "cascade", "outcomes", "semantic", "admin")


def proto_folder() -> Path:
    for folder in (HERE / "proto", HERE.parent.parent / "proto"):
        if (folder / "rung").is_dir():
            return folder
    raise SystemExit("proto/rung is neither in this folder nor two above it")


class BuildWithStubs(build_py):
    def run(self) -> None:
        super().run()
        from grpc_tools import protoc

        folder = proto_folder()
        out = HERE / "src" if self.editable_mode else Path(self.build_lib)
        options = [f"-I{folder}", *(f"--{kind}={out}" for kind in ("python_out", "pyi_out", "grpc_python_out"))]
        names = [f"rung/v1/{name}.proto" for name in CONTRACTS]
        if protoc.main(["protoc", *options, *names]) != 0:
            raise SystemExit("protoc failed")
        (out / "rung" / "v1" / "__init__.py").write_text('"""Generated from proto/rung/v1."""\n')


class SourceWithContract(sdist):
    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        for name in CONTRACTS:
            target = Path(base_dir) / "proto" / "rung" / "v1" / f"{name}.proto"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(proto_folder() / "rung" / "v1" / f"{name}.proto", target)


setup(cmdclass={"build_py": BuildWithStubs, "sdist": SourceWithContract})
