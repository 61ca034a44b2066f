"""The reference says what is there: codes, roles, limits, and examples that run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from abplatform.api.auth import MATRIX, Ability
from abplatform.api.problems import STATUSES
from abplatform.domain.access import KEY_ROLES
from abplatform.errors import AbplatformError, StartRefused
from abplatform.services.decode_events import REJECTION_CODES
from tests.api.conftest import Service
from tests.api.test_problems import kinds

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "http-api.md").read_text(encoding="utf-8")
LOOKS = (DOCS / "looks.md").read_text(encoding="utf-8")
OF_THE_FRAMEWORK = {"METHOD_NOT_ALLOWED": "405", "INTERNAL_ERROR": "500"}


def test_every_error_code_is_documented_with_its_status() -> None:
    documented = dict(re.findall(r"^\| `([A-Z_]+)` \| (\d{3}) \|", PAGE, re.MULTILINE))
    ours = {
        kind.code: str(int(next(STATUSES[parent] for parent in kind.__mro__ if parent in STATUSES)))
        for kind in kinds(AbplatformError)
        if kind is not AbplatformError and not issubclass(kind, StartRefused)
    }
    assert documented == ours | OF_THE_FRAMEWORK


def test_every_rejection_code_is_documented() -> None:
    section = PAGE.partition("| rejection code |")[2].partition("## Results")[0]
    documented = dict(re.findall(r"^\| `([A-Z_]+)` \| (.+) \|$", section, re.MULTILINE))
    assert {code: text.replace("`", "") for code, text in documented.items()} == REJECTION_CODES


def test_the_table_of_roles_is_the_matrix() -> None:
    section = PAGE.partition("## Roles")[2].partition("```")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("| ")
    ]
    assert tuple(rows[0][1:]) == KEY_ROLES
    documented = [{role for role, cell in zip(KEY_ROLES, row[1:], strict=True) if cell == "yes"} for row in rows[1:]]
    order = (
        Ability.READ_SNAPSHOT,
        Ability.EVALUATE,
        Ability.SEND_EVENTS,
        Ability.READ,
        Ability.DEFINE,
        Ability.RUN,
        Ability.MANAGE_KEYS,
    )
    assert documented == [MATRIX[ability] for ability in order]
    assert set(order) == set(MATRIX)


def commands(page: str) -> list[str]:
    """The curl commands of a page, in order."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return [
        command
        for block in blocks
        for command in re.split(r"^(?=curl )", block, flags=re.MULTILINE)
        if "curl" in command
    ]


def run(command: str, service: Service) -> int:
    """What a shell and curl make of the command, sent through the client."""
    words = shlex.split(command.replace("\\\n", " "))
    method, headers, body, url = "GET", {}, None, ""
    rest = iter(words[1:])
    for word in rest:
        if word == "-X":
            method = next(rest)
        elif word == "-H":
            name, _, value = next(rest).partition(": ")
            headers[name] = value.replace("$KEY", service.admin.secret or "")
        elif word == "-d":
            body = next(rest)
        else:
            assert word.startswith("$ABP/"), word
            url = word.removeprefix("$ABP")
    return service.nobody().call(method, f"root:{url}", headers=headers, data=body).status_code


def test_the_examples_run_in_order(service: Service) -> None:
    examples = [*commands(PAGE), *commands(LOOKS)]
    assert (len(commands(PAGE)) > 12, len(commands(LOOKS))) == (True, 7)
    statuses = {command: run(command, service) for command in examples}
    assert {command: status for command, status in statuses.items() if status >= 300} == {}
