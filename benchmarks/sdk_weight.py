"""How much of a product's process the SDK takes: import time, memory, size of the wheel, dependencies.

All is measured on the wheel as it is built, in fresh interpreters, since what is loaded once stays.
"""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from abplatform_sdk import Client

from benchmarks.sdk_peers.sink import Sink
from benchmarks.sdk_peers.snapshots import document
from benchmarks.sdk_peers.work import ATTRIBUTES, EXPERIMENT, MANY
from benchmarks.timing import ROUNDS, Result

ROOT = Path(__file__).resolve().parent.parent
MOST_MILLISECONDS = 30.0
MOST_MEGABYTES = 10.0
MOST_KILOBYTES = 100.0
DEPENDENCIES = ["urllib3"]
HEAVY = ("urllib3", "ssl", "http.client")
EXPOSURES = 50_000

# Gives the seconds of the import, and which heavy modules it loaded.
IMPORT = """
import json, sys, time
folder, *heavy = sys.argv[1:]
sys.path.insert(0, folder)
start = time.perf_counter()
import abplatform_sdk
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "heavy": [name for name in heavy if name in sys.modules]}))
"""

# Gives the resident bytes that a client with a snapshot adds to an interpreter with urllib3 and ssl, after it has
# decided all experiments. It starts from the disk copy, as while the server is away, and without threads of its own.
MEMORY = """
import gc, json, os, ssl, sys, threading, urllib3
from pathlib import Path

def resident():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

folder, snapshot, cache, attributes, *keys = sys.argv[1:]
ssl.create_default_context()
urllib3.PoolManager()
before = resident()
sys.path.insert(0, folder)
from abplatform_sdk import Client
from abplatform_sdk.snapshot import DiskCopy
URL, KEY = "http://127.0.0.1:9", "sdk-key"
DiskCopy(cache, base_url=URL, api_key=KEY).write(Path(snapshot).read_bytes())
client = Client(URL, KEY, cache_dir=cache)
reasons = {client.evaluate(key, "u-1", json.loads(attributes)).reason for key in keys}
print(json.dumps({"bytes": resident() - before, "reasons": sorted(reasons)}), flush=True)
os._exit(0)
"""


def run() -> Iterator[Result]:
    """Build the wheel, unpack it, and measure."""
    with tempfile.TemporaryDirectory() as folder:
        wheel = build(Path(folder))
        unpacked = Path(folder, "unpacked")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(unpacked)
        yield _import_time(unpacked)
        yield _memory(unpacked, Path(folder))
        yield _size(wheel)
        yield _dependencies(unpacked)
    yield _delivery()


def build(folder: Path) -> Path:
    """The wheel of the SDK, built from a copy, so that nothing is left in the tree."""
    copy = folder / "sdk"
    shutil.copytree(ROOT / "sdk", copy, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder), str(copy)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def _ask(code: str, *arguments: str, isolated: bool) -> dict[str, Any]:
    """What a fresh interpreter answers; an isolated one has not even the modules that `site` loads."""
    command = [sys.executable, *(["-I", "-S"] if isolated else []), "-c", code, *arguments]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(json.loads(answer))


def _import_time(unpacked: Path) -> Result:
    """The import alone, byte code at hand: the start of the interpreter is not in it."""
    _ask(IMPORT, str(unpacked), isolated=True)
    answers = [_ask(IMPORT, str(unpacked), *HEAVY, isolated=True) for _ in range(ROUNDS)]
    milliseconds = statistics.median(answer["seconds"] for answer in answers) * 1e3
    heavy = sorted({name for answer in answers for name in answer["heavy"]})
    figure = f"{milliseconds:.1f} ms, loads of these: {', '.join(heavy) or 'none'}"
    goal = f"under {MOST_MILLISECONDS:g} ms, without {', '.join(HEAVY)}"
    return Result("import of abplatform_sdk", figure, goal, met=milliseconds < MOST_MILLISECONDS and not heavy)


def _memory(unpacked: Path, folder: Path) -> Result:
    snapshot = folder / "snapshot.json"
    snapshot.write_text(json.dumps(document(MANY)))
    arguments = (str(unpacked), str(snapshot), str(folder / "cache"), json.dumps(dict(ATTRIBUTES)), *MANY)
    answers = [_ask(MEMORY, *arguments, isolated=False) for _ in range(3)]
    reasons = {reason for answer in answers for reason in answer["reasons"]}
    if reasons != {"ASSIGNED"}:
        raise RuntimeError(f"the client did not decide: {sorted(reasons)}")
    megabytes = statistics.median(answer["bytes"] for answer in answers) / 2**20
    name = f"memory of a client with {len(MANY)} experiments"
    return Result(name, f"{megabytes:.1f} MiB", f"under {MOST_MEGABYTES:g} MiB", met=megabytes < MOST_MEGABYTES)


def _size(wheel: Path) -> Result:
    kilobytes = wheel.stat().st_size / 1024
    return Result(
        "wheel of the SDK", f"{kilobytes:.0f} KiB", f"under {MOST_KILOBYTES:g} KiB", met=kilobytes < MOST_KILOBYTES
    )


def _dependencies(unpacked: Path) -> Result:
    """What an installation without extras brings along."""
    (info,) = unpacked.glob("*.dist-info")
    wanted = metadata.Distribution.at(info).requires or []
    names = [re.split(r"[^\w.-]", line)[0] for line in wanted if "extra ==" not in line]
    return Result("dependencies of the SDK", ", ".join(names), ", ".join(DEPENDENCIES), met=names == DEPENDENCIES)


def _delivery() -> Result:
    """All that exposures cost the product's process, in any thread: deciding, encoding, packing, sending."""
    units = [f"user-{number}" for number in range(EXPOSURES)]
    sink = Sink(json.dumps(document([EXPERIMENT])).encode())
    client = Client(sink.url, "sdk-key", cache_dir=None, max_queue=EXPOSURES)
    if not client.wait_ready(10):
        raise RuntimeError("the client has no snapshot")
    start = time.process_time()
    for unit in units:
        client.assign(EXPERIMENT, unit, ATTRIBUTES)
    client.flush(60)
    microseconds = (time.process_time() - start) / EXPOSURES * 1e6
    delivered = client.stats().delivered
    client.close()
    sink.stop()
    if delivered != EXPOSURES:
        raise RuntimeError(f"{delivered} of {EXPOSURES} exposures were delivered")
    figure = f"{microseconds:.1f} us of CPU time in all threads"
    return Result("an exposure until it is acknowledged", figure, "none, for the record", met=True)
