"""In which format a command writes, by its option ``--format`` and the name of its file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click


def choose_format(asked: str | None, output: Path | None, endings: Mapping[str, str], *, default: str) -> str:
    """The format to write.

    Args:
        asked: by ``--format``.
        output: the file of ``--output``; None for stdout.
        endings: which ending of a file's name, in lower case, stands for which format.
        default: for stdout, if nothing is asked.

    Raises:
        click.UsageError: the ending stands for another format than the one that is asked, or none is known.
    """
    if output is None:
        return asked or default
    implied = endings.get(output.suffix.lower())
    chosen = asked or implied
    if chosen is None:
        raise click.UsageError(f"{output} must end in {', '.join(endings)}, or --format must say what to write")
    if implied not in {chosen, None}:
        raise click.UsageError(f"--format {asked} does not go with {output}")
    return chosen
