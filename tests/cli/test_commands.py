"""The commands around the main job, and the one shape of their refusals."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest

from abplatform import __version__
from abplatform.cli.invocation import program
from abplatform.cli.main import run as run_here
from abplatform.cli.session import log_to_stderr
from tests.cli.commands import run
from tests.cli.tables import a_platform, a_request, import_table, write_csv


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder that nothing is in yet."""
    monkeypatch.setenv("ABPLATFORM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def trial(home: Path, tmp_path: Path) -> Path:
    """A home folder with the imported experiment ``trial``."""
    rows = [("ab"[number % 2], number % 3 == 0) for number in range(60)]
    table = write_csv(tmp_path / "trial.csv", ("arm", "bought"), *rows)
    with a_platform(home) as platform:
        import_table(platform, a_request(table))
    return home


def test_help_lists_every_command_and_loads_none_of_them() -> None:
    code = (
        "import sys; from abplatform.cli.main import run; run(['--help']);"
        "heavy = {'sqlalchemy', 'pyarrow', 'altair', 'rich', 'granian', 'abplatform.bootstrap'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    for name in ("serve", "worker", "import", "readout", "simulate", "demo", "db", "keys"):
        assert re.search(rf"^  {name}\s+\S", done.stdout, flags=re.MULTILINE)


@pytest.mark.parametrize("name", ["serve", "worker", "import", "readout", "simulate", "demo", "db", "keys"])
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here([name, "--help"]) == 0
    assert "Usage:" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(["--version"]) == 0
    assert capsys.readouterr().out == f"abplatform {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "settings", "status", "message"),
    [
        (["fly"], {}, 2, "No such command 'fly'"),
        (["readout"], {}, 2, "name the KEY of an experiment, or --list"),
        (["readout", "x", "--list"], {}, 2, "name the KEY of an experiment, or --list"),
        (["readout", "nothing"], {}, 1, "there is no data in "),
        (["readout", "--list"], {}, 1, "; set ABPLATFORM_HOME, or run this in the folder where"),
        (["readout", "x", "--format", "json", "--output", "x.html"], {}, 2, "--format json does not go with x.html"),
        (["readout", "x", "--format", "pdf"], {}, 2, "'pdf' is not one of"),
        (["keys", "create", "--role", "king", "--name", "n"], {}, 2, "'king' is not one of"),
        (["keys", "create", "--role", "sdk", "--name", "n"], {}, 1, "there is no data in "),
        (["keys", "create", "--role", "sdk", "--name", "n"], {}, 1, "; --new makes a new platform here"),
        (["readout", "--list"], {"ABPLATFORM_PORT": "many"}, 2, "ABPLATFORM_PORT='many'"),
        (["readout", "--list"], {"ABPLATFORM_COLOUR": "red"}, 2, "ABPLATFORM_COLOUR is not a setting"),
        (["db", "current"], {}, 1, "there is no database yet; run: abplatform db upgrade"),
    ],
)
def test_a_refusal_is_one_line_and_a_status(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    settings: dict[str, str],
    status: int,
    message: str,
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert run_here(arguments) == status
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert line.startswith("Error: ")
    assert message in line
    assert said.out == ""
    assert not home.exists(), "a refusal makes nothing"


@pytest.mark.parametrize("arguments", [[], ["db"], ["keys"]])
def test_a_group_without_a_command_shows_its_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(arguments) == 2
    said = capsys.readouterr()
    assert re.search(r"^Usage: abplatform .*\n(.*\n)+Commands:\n", said.err)
    assert said.out == ""


def test_an_unknown_experiment_is_refused_with_the_place_that_was_looked_at(
    trial: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here(["readout", "nothing"]) == 1
    expected = f"Error: there is no experiment 'nothing' in {trial}; see: abplatform readout --list\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("arguments", [["db", "upgrade"], ["keys", "create", "--role", "sdk", "--name", "x", "--new"]])
def test_a_home_that_cannot_be_made_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ABPLATFORM_HOME", str(tmp_path / "file" / "home"))
    assert run_here(arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Error: ")
    assert str(tmp_path / "file" / "home") in line
    assert "Not a directory" in line


@pytest.mark.parametrize("arguments", [["db", "upgrade"], ["readout", "x"], ["serve"]])
def test_postgresql_without_its_driver_is_one_line_that_says_what_to_install(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    monkeypatch.setenv("ABPLATFORM_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("ABPLATFORM_PSEUDONYM_KEY", "k" * 32)
    monkeypatch.setenv("ABPLATFORM_LAKE_URL", (home / "lake").as_uri())
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert run_here(arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "run in the checkout: .venv/bin/pip install -e '.[postgres]'" in line


def test_a_database_that_does_not_answer_is_one_line_that_says_where_and_why(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ABPLATFORM_DATABASE_URL", "postgresql://ab:hunter2-and-more@127.0.0.1:1/growth")
    monkeypatch.setenv("ABPLATFORM_PSEUDONYM_KEY", "k" * 32)
    monkeypatch.setenv("ABPLATFORM_LAKE_URL", (home / "lake").as_uri())
    assert run_here(["db", "current"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "Error: the database does not answer; try again shortly (host 127.0.0.1, port 1, database growth: connection"
    )
    assert line.endswith("Connection refused)")
    assert "hunter2" not in line


def test_log_lines_of_libraries_have_the_shape_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr()
    logging.getLogger("abplatform.database").info("the database answers again", extra={"seconds": 1.5})
    logging.getLogger("of.a.library").warning("careful: %s", "why")
    logging.getLogger("of.a.library").info("details")
    ours, theirs = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (ours["event"], ours["level"], ours["seconds"]) == ("the database answers again", "info", 1.5)
    assert (theirs["event"], theirs["level"]) == ("careful: why", "warning")
    assert ours["timestamp"].endswith("Z")


def test_printed_commands_name_the_program_as_it_was_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "its venv" / "bin" / "abplatform"
    script.parent.mkdir(parents=True)
    script.touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [str(script)])
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(tmp_path)
    assert program() == "'its venv/bin/abplatform'"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert program() == f"'{script}'"
    monkeypatch.setenv("PATH", str(script.parent))
    assert program() == "abplatform"
    monkeypatch.setattr(sys, "argv", ["/usr/lib/abplatform/cli/__main__.py"])
    assert program() == "abplatform"


def test_upgrade_creates_the_schema_and_may_be_repeated(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [run_here(["db", "upgrade"]), run_here(["db", "upgrade"]), run_here(["db", "current"])] == [0, 0, 0]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == lines[1] == f"the schema is at {lines[2]}"


def test_a_key_is_printed_alone_on_stdout_and_not_kept(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(["keys", "create", "--role", "sdk", "--name", "checkout", "--new"]) == 0
    said = capsys.readouterr()
    secret = said.out.strip()
    assert re.fullmatch(r"abp_sdk_\S{20,}", secret)
    assert secret not in said.err
    assert not [file for file in home.rglob("*") if file.is_file() and secret.encode() in file.read_bytes()]


def test_list_prints_one_key_per_line(trial: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(["readout", "--list"]) == 0
    assert capsys.readouterr().out == "trial\n"


@pytest.mark.parametrize(("format_", "begin"), [("text", "trial\n"), ("json", '{\n  "experiment"'), ("html", "<!doc")])
def test_readout_writes_to_stdout_or_to_a_file(
    trial: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, format_: str, begin: str
) -> None:
    assert run_here(["readout", "trial", "--format", format_]) == 0
    assert capsys.readouterr().out.startswith(begin)
    file = tmp_path / "readout"
    assert run_here(["readout", "trial", "--format", format_, "--output", str(file)]) == 0
    assert file.read_text(encoding="utf-8").startswith(begin)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("name", "begin"), [("x.txt", "trial\n"), ("x.json", "{\n"), ("x.HTML", "<!doc")])
def test_the_name_of_the_output_says_its_format(
    trial: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, begin: str
) -> None:
    assert run_here(["readout", "trial", "--output", str(tmp_path / name)]) == 0
    assert (tmp_path / name).read_text(encoding="utf-8").startswith(begin)


@pytest.mark.parametrize("name", ["x.foo", "x", "x.html.gz"])
def test_an_ending_that_says_no_format_is_refused_before_anything_is_written(
    trial: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    output = tmp_path / name
    assert run_here(["readout", "trial", "--output", str(output)]) == 2
    assert f"{output} must end in .txt, .json, .html, .htm, or --format must say" in capsys.readouterr().err
    assert not output.exists()
    assert run_here(["readout", "trial", "--output", str(output), "--format", "json"]) == 0
    assert json.loads(output.read_text())["experiment"] == "trial"


def test_a_file_that_cannot_be_written_is_one_line(
    trial: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here(["readout", "trial", "--output", str(tmp_path / "no" / "where.txt")]) == 1
    assert capsys.readouterr().err.startswith("Error: cannot write ")


def test_another_method_is_exploratory(trial: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(["readout", "trial", "--method", "sequential"]) == 0
    assert "not recorded (exploratory)" in capsys.readouterr().out


def test_a_reader_that_goes_away_is_no_error_with_a_trace(trial: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m abplatform.cli readout trial --format html | head -c 10",
        shell=True,
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "<!doctype "
    assert "Traceback" not in done.stderr


def test_commands_run_in_a_process_of_their_own(trial: Path) -> None:
    done = run(trial, "readout", "trial")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Ship" in done.stdout or "Inconclusive" in done.stdout
