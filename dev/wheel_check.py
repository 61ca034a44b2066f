"""Build both distributions from a clean copy of the tracked files, install the wheels alone, and use them.

A clean copy, because a stale ``build/`` was seen to keep deleted modules in a wheel.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINKS = {"abplatform_sdk/_assignment/": "abplatform/assignment", "abplatform/migrations/": "migrations"}

USE_SDK = """
import sys
from abplatform_sdk import Client
from abplatform_sdk._assignment import bucket
assert "urllib3" not in sys.modules, "importing the SDK loads urllib3"
assert not any(name == "abplatform" or name.startswith("abplatform.") for name in sys.modules)
client = Client("http://127.0.0.1:9", api_key="none", cache_dir=None)
decision = client.assign("rate-display", "u-1", default="3.5% a year")
assert (decision.payload, decision.reason) == ("3.5% a year", "NOT_READY"), decision
client.close(timeout=1)
print("sdk", bucket("salt", "u-1"))
"""
USE_PLATFORM = """
from abplatform.assignment import bucket
from abplatform.storage.migrate import head_revision
print("platform", bucket("salt", "u-1"), head_revision())
"""


def main() -> int:
    """Build, compare, install, use; says what it found."""
    with tempfile.TemporaryDirectory() as folder:
        wheels = build_wheels(Path(folder))
        for wheel in wheels:
            compare_with_source(wheel)
        _use(wheels, Path(folder))
        for wheel in wheels:
            print(f"{wheel.name}: {wheel.stat().st_size / 1024:.0f} KB")
    return 0


def build_wheels(folder: Path) -> list[Path]:
    """Build both wheels, each by way of its source distribution, from a clean copy in ``folder``."""
    copy, dist = folder / "copy", folder / "dist"
    _copy_tracked(copy)
    for source in (copy / "sdk", copy):
        _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(dist), str(source))
    return sorted(dist.glob("*.whl"))


def _copy_tracked(copy: Path) -> None:
    """What git tracks or would track, as it stands in the working tree, links kept as links."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    for name in filter(None, names):
        source, target = ROOT / name, copy / name
        if not source.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            target.symlink_to(source.readlink())
        else:
            target.write_bytes(source.read_bytes())


def compare_with_source(wheel: Path) -> None:
    """Each linked file in a wheel has the bytes of the one definition, and none is missing or left over."""
    with zipfile.ZipFile(wheel) as archive:
        for prefix, source in LINKS.items():
            held = {name for name in archive.namelist() if name.startswith(prefix) and name.endswith(".py")}
            if not held:
                continue
            expected = {
                prefix + str(path.relative_to(ROOT / source))
                for path in (ROOT / source).rglob("*.py")
                if "__pycache__" not in path.parts
            }
            if held != expected:
                raise SystemExit(f"{wheel.name}: files differ from {source}: {sorted(held ^ expected)}")
            for name in held:
                original = (ROOT / source / name.removeprefix(prefix)).read_bytes()
                if hashlib.sha256(archive.read(name)).digest() != hashlib.sha256(original).digest():
                    raise SystemExit(f"{wheel.name}: {name} is not the file in {source}")


def _use(wheels: list[Path], folder: Path) -> None:
    for wheel in wheels:
        place = folder / wheel.stem
        _run(sys.executable, "-m", "venv", str(place))
        python = str(place / "bin" / "python")
        constraints = str(ROOT / "constraints.txt")
        _run(python, "-m", "pip", "install", "--quiet", "--constraint", constraints, str(wheel))
        code = USE_SDK if wheel.name.startswith("abplatform_sdk") else USE_PLATFORM
        # From another folder and isolated, so that only what is installed can be imported.
        _run(python, "-I", "-c", code, cwd=folder)


def _run(*command: str, cwd: Path | None = None) -> None:
    done = subprocess.run(command, check=False, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:4])} ... failed:\n{done.stdout}{done.stderr}")
    if command[-2] == "-c":
        print(done.stdout.strip())


if __name__ == "__main__":
    sys.exit(main())
