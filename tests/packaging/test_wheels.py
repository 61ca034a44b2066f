"""What is inside the wheels that users install."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from dev.wheel_check import build_wheels, compare_with_source

VECTORS = Path(__file__).parents[1] / "vectors"
VECTOR_FILES = ("hash", "ranges", "targeting", "evaluations")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    built = build_wheels(tmp_path_factory.mktemp("wheels"))
    return {wheel.name.split("-")[0]: wheel for wheel in built}


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_linked_files_in_the_wheels_have_the_bytes_of_the_one_definition(wheels: dict[str, Path]) -> None:
    for wheel in wheels.values():
        compare_with_source(wheel)
    assert "abplatform_sdk/_assignment/hashing.py" in names(wheels["abplatform_sdk"])
    assert "abplatform/migrations/env.py" in names(wheels["abplatform"])


def test_the_evaluator_of_an_installed_sdk_wheel_agrees_with_all_vectors(
    wheels: dict[str, Path], tmp_path: Path
) -> None:
    place = tmp_path / "empty"
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    packages = next((place / "lib").glob("python*")) / "site-packages"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(packages)]
    subprocess.run([*install, str(wheels["abplatform_sdk"])], check=True)
    # Isolated and from another folder: nothing but the standard library and the wheel can be imported.
    command = [str(python), "-I", str(VECTORS / "check_evaluator.py"), "abplatform_sdk._assignment"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    counts = {name: len(json.loads((VECTORS / f"{name}.json").read_text())["cases"]) for name in VECTOR_FILES}
    expected = ", ".join(f"{name} {count}" for name, count in counts.items()) + ": all agree\n"
    assert (done.returncode, done.stdout) == (0, expected), done.stderr


def test_the_sdk_wheel_is_small_and_needs_urllib3_alone(wheels: dict[str, Path]) -> None:
    wheel = wheels["abplatform_sdk"]
    assert wheel.stat().st_size < 100_000
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        text = archive.read(metadata).decode()
    needed = [line for line in text.splitlines() if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert needed == ["Requires-Dist: urllib3<3,>=2"]


def test_the_licence_is_named_in_the_sdk_wheel_and_its_text_is_in_the_source_distribution(
    wheels: dict[str, Path],
) -> None:
    wheel = wheels["abplatform_sdk"]
    (source,) = wheel.parent.glob("abplatform_sdk-*.tar.gz")
    with tarfile.open(source) as archive:
        assert any(name.endswith("/LICENSE") for name in archive.getnames())
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        assert "License: Apache-2.0" in archive.read(metadata).decode().splitlines()


def test_the_server_wheel_carries_what_its_pages_need(wheels: dict[str, Path]) -> None:
    held = names(wheels["abplatform"])
    assert "abplatform/py.typed" in held
    assert any(name.startswith("abplatform/readout/static/") and name.endswith(".js") for name in held)
    assert any(name.startswith("abplatform/readout/templates/") for name in held)
    assert not any(name.startswith(("tests/", "sdk/", "dev/", "benchmarks/")) for name in held)
