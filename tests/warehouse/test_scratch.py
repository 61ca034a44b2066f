"""What a killed process leaves in the folder for temporary files goes with the next one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from abplatform.warehouse.scratch import ScratchFolder, remove_leftovers

HOLD = """
import sys, time
from pathlib import Path
from abplatform.warehouse.scratch import ScratchFolder

with ScratchFolder("spill", Path(sys.argv[1])) as name:
    (Path(name) / "inner").mkdir()
    (Path(name) / "inner" / "file").write_bytes(b"spilled")
    print(name, flush=True)
    time.sleep(60)
"""


def test_a_closed_folder_leaves_nothing(tmp_path: Path) -> None:
    with ScratchFolder("spill", tmp_path) as name:
        (Path(name) / "file").write_bytes(b"spilled")
        assert Path(name).name.startswith("abplatform-spill-")
        assert remove_leftovers(tmp_path) == 0
        assert (Path(name) / "file").exists()

    assert list(tmp_path.iterdir()) == []


def test_only_the_folders_of_processes_that_are_gone_are_removed(tmp_path: Path) -> None:
    (tmp_path / "abplatform-of-somebody-else").mkdir()
    holders = [
        subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        living, dead = (Path(each.stdout.readline().strip()) for each in holders if each.stdout is not None)
        holders[1].kill()
        holders[1].wait(10)
        assert (dead / "inner" / "file").exists()

        with ScratchFolder("spill", tmp_path):  # the first of this process at this place
            assert not dead.exists()
            assert (living / "inner" / "file").exists()
    finally:
        for each in holders:
            each.kill()
            each.communicate(timeout=10)

    assert remove_leftovers(tmp_path) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["abplatform-of-somebody-else"]
