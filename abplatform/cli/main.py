"""The group of all commands, and the one place where errors become lines and exit statuses."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from abplatform import __version__
from abplatform.cli.invocation import program
from abplatform.errors import AbplatformError, BadSetting, InvalidInput, Unavailable

# Name, module, one line for the list: no command's module is loaded to show it.
_COMMANDS = {
    "serve": ("abplatform.cli.serve", "Run the HTTP API; on the embedded default with the worker inside."),
    "worker": ("abplatform.cli.worker", "Seal incoming events, tidy the lake up, look at results on schedule."),
    "seal": ("abplatform.cli.seal", "Seal incoming events, once or until stopped; nothing else."),
    "import": ("abplatform.cli.import_", "Import the table of an experiment that already ran."),
    "import-events": ("abplatform.cli.import_events", "Import events of a table: history, and what a warehouse knows."),
    "readout": ("abplatform.cli.readout", "Show the results of an experiment."),
    "breakdown": ("abplatform.cli.breakdown", "Show results in slices of units, or where effects differ."),
    "curve": ("abplatform.cli.curve", "Show a metric by days since the first exposure."),
    "acquisition-cost": ("abplatform.cli.acquisition_cost", "Say what one more customer costs, by channel."),
    "holdout": ("abplatform.cli.holdout", "Show what everything that was shipped did, against a holdout."),
    "portfolio": ("abplatform.cli.portfolio", "Show all past experiments on a metric, corrected for luck."),
    "interactions": ("abplatform.cli.interactions", "Search for experiments that change each other's effect."),
    "rerun": ("abplatform.cli.rerun", "Compute a look again from what it was computed from, and compare."),
    "assign": ("abplatform.cli.assign", "Say for each unit of a table what it gets, and why."),
    "verify": ("abplatform.cli.verify", "Compare the exposures of an experiment with what was drawn."),
    "pseudonymise": ("abplatform.cli.pseudonymise", "Write a table with pseudonyms in place of raw ids; audited."),
    "simulate": ("abplatform.cli.simulate", "Measure how often a method errs, on simulated experiments."),
    "simulate-app": ("abplatform.cli.simulate_app", "Tell an experiment with simulated customers and a planted truth."),
    "demo": ("abplatform.cli.demo", "Run the whole main job once, on real and on simulated data."),
    "metrics": ("abplatform.cli.metrics", "Install metrics from templates, list them, check that their events arrive."),
    "behaviours": ("abplatform.cli.behaviours", "Segments from what units did: define, show and export them."),
    "lake": ("abplatform.cli.lake", "Inspect the lake's tables, check their files, tidy them up."),
    "db": ("abplatform.cli.db", "Create, update and inspect the database schema."),
    "keys": ("abplatform.cli.keys", "Make API keys."),
    "project": ("abplatform.cli.project", "Show and change what holds for the whole project, such as its time zone."),
}


_MOST_SAID = 5
"""Errors of one call that are said; of others how many there are."""


class _LazyGroup(click.Group):
    """Knows its commands by name and loads one when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(_COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="abplatform", message="%(prog)s %(version)s")
def cli() -> None:
    """An A/B testing platform: define experiments, serve variants, read results that stay valid.

    Settings come from the environment (ABPLATFORM_*). Without any, everything lives in ./.abplatform.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and end the process with its exit status."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: as on the command line, without the program's name; by default the process's own.

    Returns:
        The exit status.
    """
    try:
        given = None if arguments is None else list(arguments)
        status = cli.main(args=given, prog_name=program(), standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        return _complain("interrupted", 130)
    except click.ClickException as error:
        return _refuse_call(error)
    except AbplatformError as error:
        return _refuse(error)
    except BrokenPipeError:
        # Whoever read our output has gone (a pipe into head): nothing more to say, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        # A folder that may not be written, a full disk: the place, where it is known, says more than a traceback.
        where = "" if error.filename is None else f"{error.filename}: "
        return _complain(f"{where}{error.strerror or error}", 1)
    return status if isinstance(status, int) else 0


def _refuse_call(error: click.ClickException) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return error.exit_code
    hint = ""
    if isinstance(error, click.UsageError):
        hint = f" (see: {error.ctx.command_path if error.ctx else program()} --help)"
    return _complain(error.format_message() + hint, error.exit_code)


def _refuse(error: AbplatformError) -> int:
    if isinstance(error, InvalidInput):
        return _refuse_input(error.sentences)
    cause = f" ({error.cause})" if isinstance(error, Unavailable) and error.cause else ""
    return _complain(error.detail + cause, 2 if isinstance(error, BadSetting) else 1)


def _refuse_input(sentences: Sequence[str]) -> int:
    for sentence in sentences[:_MOST_SAID]:
        _complain(sentence, 2)
    further = len(sentences) - _MOST_SAID
    if further > 0:
        click.echo(f"and {further:,} further {'error' if further == 1 else 'errors'}", err=True)
    return 2


def _complain(message: str, status: int) -> int:
    from abplatform.readout.numbers import visible

    # Names of files and columns come from others: no control character of theirs reaches a terminal.
    line = visible(" ".join(message.split()))
    click.echo(f"Error: {line}", err=True)
    return status
