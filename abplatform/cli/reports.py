"""What the commands share that write a report: its options, and how it is written."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from abplatform.cli.formats import choose_format
from abplatform.cli.readout import write_readout

if TYPE_CHECKING:
    from abplatform.readout.report import Report

_FORMATS = {".txt": "text", ".json": "json", ".html": "html", ".htm": "html"}
_Command = TypeVar("_Command", bound=Callable[..., Any])
_Found = TypeVar("_Found")


def report_options(command: _Command) -> _Command:
    """Give a command ``--format`` and ``--output``, as ``format_`` and ``output``."""
    output = click.option(
        "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file, not to stdout."
    )
    format_ = click.option(
        "--format",
        "format_",
        type=click.Choice(["text", "json", "html"]),
        help="By default what the name of --output ends in (.txt, .json, .html); text for stdout.",
    )
    return format_(output(command))


def choose_report_format(format_: str | None, output: Path | None) -> str:
    """The format to write, before anything is computed: see `formats.choose_format`."""
    return choose_format(format_, output, _FORMATS, default="text")


def write_report(found: _Found, build: Callable[[_Found], Report], format_: str, output: Path | None) -> None:
    """Write a report to stdout or a file.

    Args:
        found: the document of the API.
        build: makes a report of it.
        format_: see `choose_report_format`.
        output: the file.
    """
    from abplatform.readout.report import report_as_html, report_as_text

    def as_text(each: _Found, *, width: int, colour: bool) -> str:
        return report_as_text(build(each), width=width, colour=colour)

    def as_html(each: _Found) -> str:
        return report_as_html(build(each))

    write_document(found, format_, output, as_text=as_text, as_html=as_html)


def write_document(
    found: _Found,
    format_: str,
    output: Path | None,
    *,
    as_text: Callable[..., str],
    as_html: Callable[[_Found], str],
) -> None:
    """Write a document of the API to stdout or a file.

    Args:
        found: the document.
        format_: see `choose_report_format`.
        output: the file.
        as_text: writes it for a terminal, given its ``width`` and whether to use ``colour``.
        as_html: writes it as a page.
    """
    if format_ == "json":
        import msgspec

        text = msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n"
    elif format_ == "html":
        text = as_html(found)
    else:
        from abplatform.readout.text import PLAIN_WIDTH

        terminal = output is None and sys.stdout.isatty()
        width = shutil.get_terminal_size().columns if terminal else PLAIN_WIDTH
        text = as_text(found, width=width, colour=terminal)
    if output is None:
        click.echo(text, nl=False)
    else:
        write_readout(output, text)
        click.echo(f"wrote {output}", err=True)
