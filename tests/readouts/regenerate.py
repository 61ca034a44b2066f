"""Write the reviewed readouts again: ``python -m tests.readouts.regenerate``; then read the diff."""

from __future__ import annotations

from pathlib import Path

from abplatform.readout.document import as_json
from abplatform.readout.text import as_text
from tests.readouts.scorecards import ALL, sequential_looks

FOLDER = Path(__file__).parent


def reviewed_files() -> dict[str, str]:
    """The text of each reviewed file by its name, as the program writes it now."""
    files = {}
    for name, build in ALL.items():
        looks = sequential_looks() if name == "sequential" else ()
        files[f"{name}.txt"] = as_text(build(), looks)
        files[f"{name}.json"] = as_json(build())
    return files


if __name__ == "__main__":
    for name, text in reviewed_files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
