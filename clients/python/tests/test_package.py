"""The package as others get it: typed, and whole when built from its source distribution."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


def run(*words: str, cwd: Path) -> str:
    """What a module of this interpreter prints."""
    done = subprocess.run([sys.executable, "-m", *words], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_package_and_its_tests_are_typed(tmp_path: Path) -> None:
    common = ["mypy", "--config-file", str(HERE.parent / "pyproject.toml"), "--cache-dir", str(tmp_path)]
    run(*common, "-p", "rung", cwd=tmp_path)
    run(*common, *map(str, sorted(HERE.glob("*.py"))), str(HERE.parent / "examples" / "route.py"), cwd=HERE)


def test_a_wheel_out_of_a_source_distribution_is_whole(tmp_path: Path) -> None:
    # First the source distribution, then the wheel from it alone, with what is installed here.
    run("build", "--no-isolation", "--outdir", str(tmp_path), str(HERE.parent), cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {"rung/py.typed", "rung/aio.py", "rung/v1/__init__.py"}
    for contract in ("router", "cascade", "outcomes", "semantic", "admin"):
        expected |= {f"rung/v1/{contract}_pb2.py", f"rung/v1/{contract}_pb2.pyi", f"rung/v1/{contract}_pb2_grpc.py"}
    assert expected <= names, expected - names
