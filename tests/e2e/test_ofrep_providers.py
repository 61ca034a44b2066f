"""The public OpenFeature providers, unchanged, against a real server: Python, Node, and the web provider under Node."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import pytest
from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext

from abplatform.assignment import Snapshot, decode_snapshot, evaluate
from tests.e2e.server import Server, serving

FOLDER = Path(__file__).parent / "openfeature"
PAGE = Path(__file__).parents[2] / "docs" / "openfeature.md"
INSTALL_SECONDS = 300
ANSWER_SECONDS = 60
UNIT = "unit 1 \u4e2d"

PAYLOADS: dict[str, tuple[Any, Any]] = {
    "banner": (
        {"copy": "3.5% a year", "rate": 3.5, "days": 30, "vip": False, "button": {"colour": "grey"}},
        {"copy": "10,000 earns 350", "rate": 4.25, "days": 90, "vip": True, "button": {"colour": "red"}},
    ),
    "rate-display": ({"copy": "3.5% a year"}, {"copy": "10,000 earns 350 in a year"}),
    "switch": (False, True),
    "text": ("3.5% a year", "\u4e00\u4e07\u5143\u4e00\u5e74350\u5143"),
    "days": (30, 90),
    "rate": (3.5, 4.25),
    "plain": (None, None),
    "targeted": (None, "10,000 earns 350"),
    "counted": (30, 90),
    "paused": ("old", "new"),
    "by-device": ("old", "new"),
}


class Call(NamedTuple):
    """One question to a provider, and what must come back beside the value: that is the variant's, or on an error the
    fallback.
    """

    kind: str
    flag: str
    fallback: Any
    reason: str = "SPLIT"
    error: str | None = None
    context: dict[str, Any] = {}  # noqa: RUF012 - never changed

    @property
    def whole_context(self) -> dict[str, Any]:
        return {"targetingKey": UNIT, **self.context}


CALLS = (
    Call("boolean", "switch", False),
    Call("string", "text", "default"),
    Call("integer", "days", 1),
    Call("float", "rate", 1.5),
    Call("object", "banner", {}),
    Call("string", "banner.copy", "default"),
    Call("float", "banner.rate", 1.5),
    Call("integer", "banner.days", 1),
    Call("boolean", "banner.vip", False),
    Call("object", "banner.button", {}),
    Call("string", "banner.button.colour", "default"),
    Call("string", "plain", "default"),
    Call("string", "targeted", "default", context={"country": "CN", "weight": 3}),
    Call("string", "paused", "default", reason="DISABLED"),
    Call("string", "by-device", "default", context={"units": {"device_id": "d-1"}}),
    Call("string", "by-device", "default", context={"device_id": "d-1"}),
    Call("string", "by-device", "default", "ERROR", "TARGETING_KEY_MISSING"),
    Call("string", "nothing", "default", "ERROR", "FLAG_NOT_FOUND"),
    Call("string", "banner.nothing", "default", "ERROR", "FLAG_NOT_FOUND"),
    Call("string", "text", "default", "ERROR", "TARGETING_KEY_MISSING", {"targetingKey": ""}),
    Call("string", "text", "default", "ERROR", "INVALID_CONTEXT", {"units": "d-1"}),
    Call("boolean", "text", False, "ERROR", "TYPE_MISMATCH"),
)
# The variant carries null, so the answer has no value.
WITHOUT_VALUE = Call("string", "targeted", "default", "DEFAULT", context={"country": "US"})


@pytest.fixture(scope="module", name="server")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("home")) as server:
        server.call("POST", "/metrics", {"key": "purchase", "name": "Purchase", "kind": "conversion", "event": "p"})
        for key, (control, treatment) in PAYLOADS.items():
            server.call("POST", "/experiments", an_experiment(key, control, treatment))
            server.call("POST", f"/experiments/{key}/start")
        server.call("POST", "/experiments/paused/pause")
        yield server


def an_experiment(key: str, control: Any, treatment: Any) -> dict[str, Any]:
    return {
        "key": key,
        "name": key,
        "unit_type": "device_id" if key == "by-device" else "user_id",
        "targeting": {"country": "CN"} if key == "targeted" else {},
        "variants": [
            # Nobody is drawn the control that carries null: an answer without a value is a case of its own.
            {"key": "control", "payload": control, "weight": 1 if control is not None or treatment is None else 1e-6},
            {
                "key": "treatment",
                "payload": treatment,
                "weight": 1 if control is not None or treatment is None else 1e9,
            },
        ],
        "control": "control",
        "metrics": [{"metric": "purchase", "role": "primary"}],
        "plan": {"method": "fixed", "planned_units": 1000},
    }


@pytest.fixture(scope="module", name="snapshot")
def _snapshot(server: Server) -> Snapshot:
    return decode_snapshot(server.call("GET", "/snapshot", role="sdk"))


def expected(call: Call, snapshot: Snapshot) -> dict[str, Any]:
    """What must come back; the variant is what the snapshot gives without the protocol in between."""
    if call.error is not None:
        return {"value": call.fallback, "variant": None, "reason": "ERROR", "error": call.error}
    key, *path = call.flag.split(".")
    units = call.context.get("units") or {"device_id": call.context.get("device_id")}
    evaluation = evaluate(snapshot, key, UNIT, call.context, units=units)
    assert evaluation.variant is not None
    value = PAYLOADS[key][("control", "treatment").index(evaluation.variant)]
    for name in path:
        value = value[name]
    if key == "plain":
        value = evaluation.variant
    found = call.fallback if value is None else value
    return {"value": found, "variant": evaluation.variant, "reason": call.reason, "error": None}


def bearer(server: Server) -> dict[str, str]:
    return {"Authorization": f"Bearer {server.key('sdk')}"}


def answered(details: Any) -> dict[str, Any]:
    """The details that OpenFeature's Python SDK gives, in the words of `expected`."""
    error = None if details.error_code is None else str(details.error_code.value)
    reason = getattr(details.reason, "value", details.reason)
    return {"value": details.value, "variant": details.variant, "reason": reason, "error": error}


class Python:
    """The provider of PyPI's ``openfeature-provider-ofrep`` behind OpenFeature's SDK."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self._provider = OFREPProvider(url, headers_factory=lambda: headers)
        api.set_provider_and_wait(self._provider, domain=url)
        self._client = api.get_client(domain=url)

    def ask(self, call: Call) -> Any:
        context = call.whole_context
        unit = context.pop("targetingKey") or None
        method = getattr(self._client, f"get_{call.kind}_details")
        return method(call.flag, call.fallback, EvaluationContext(unit, context))

    def close(self) -> None:
        api.clear_providers()
        self._provider.session.close()


@pytest.fixture(name="python")
def _python(server: Server) -> Iterator[Python]:
    provider = Python(server.url, bearer(server))
    yield provider
    provider.close()


@pytest.mark.parametrize("call", [*CALLS, WITHOUT_VALUE], ids=lambda call: f"{call.flag} {call.error or call.reason}")
def test_the_python_provider_gets_what_the_snapshot_gives(python: Python, snapshot: Snapshot, call: Call) -> None:
    details = python.ask(call)
    assert answered(details) == expected(call, snapshot)
    if call.error is None:
        assert details.flag_metadata["experiment"] == call.flag.split(".")[0]
        assert details.flag_metadata["phase"] == 1


def test_the_python_provider_falls_back_while_there_is_no_answer(server: Server) -> None:
    wrong = {"value": "default", "variant": None, "reason": "ERROR", "error": "GENERAL"}
    for url, headers in ((server.url, {"X-API-Key": "wrong"}), ("http://127.0.0.1:9", bearer(server))):
        provider = Python(url, headers)
        assert answered(provider.ask(Call("string", "text", "default"))) == wrong
        provider.close()


def test_the_example_of_the_page_runs(server: Server, snapshot: Snapshot) -> None:
    example = re.search(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert example is not None
    code = example[1].replace("http://localhost:8080", server.url) + "print(copy)\n"
    environment = {**os.environ, "ABP_SDK_KEY": server.key("sdk")}
    printed = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=ANSWER_SECONDS,
        check=True,
    ).stdout
    assert printed.strip() == evaluate(snapshot, "rate-display", "u-1", {"country": "CN"}).payload["copy"]


def test_exposures_of_single_answers_are_counted(python: Python, server: Server) -> None:
    for number in range(30):
        python.ask(Call("integer", "counted", 1, context={"targetingKey": f"u-{number}"}))
    health = server.call("GET", "/experiments/counted/results")["health"]
    assert sum(health["units"].values()) == 30
    assert health["mismatched_exposures"] == 0


@pytest.fixture(scope="module", name="node")
def _node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the Node project, with the packages that its lock file names."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        _do_without("node and npm are missing; install them (Debian: apt-get install nodejs npm)")
    assert npm is not None
    with (tmp_path_factory.getbasetemp().parent / "npm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test processes beside this one share the folder
        problem = _install(npm)
    if problem:
        _do_without(f"the packages of {FOLDER / 'package-lock.json'} cannot be installed: {problem}")
    return FOLDER


def _install(npm: str) -> str | None:
    wanted, installed = FOLDER / "package-lock.json", FOLDER / "node_modules" / ".installed"
    if installed.exists() and installed.read_bytes() == wanted.read_bytes():
        return None
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"no answer in {INSTALL_SECONDS} seconds"
    if done.returncode != 0:
        return done.stderr
    installed.write_bytes(wanted.read_bytes())
    return None


def _do_without(why: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


def question(server: Server, calls: tuple[Call, ...], **more: Any) -> str:
    asked = [
        {"kind": call.kind, "flag": call.flag, "fallback": call.fallback, "context": call.whole_context}
        for call in calls
    ]
    return json.dumps({"url": server.url, "headers": {"X-API-Key": server.key("sdk")}, "calls": asked, **more})


def in_javascript(details: dict[str, Any]) -> dict[str, Any]:
    """The details that OpenFeature's JavaScript SDKs give, in the words of `expected`."""
    named = {name: details.get(name) for name in ("value", "variant", "reason")}
    return {**named, "error": details.get("errorCode")}


def test_the_node_provider_gets_what_the_snapshot_gives(node: Path, server: Server, snapshot: Snapshot) -> None:
    calls = (*CALLS, WITHOUT_VALUE)
    done = subprocess.run(
        ["node", "ask_server_provider.mjs"],
        cwd=node,
        input=question(server, calls),
        capture_output=True,
        text=True,
        timeout=ANSWER_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = [in_javascript(details) for details in json.loads(done.stdout)]
    # This provider knows no answer without a value: the fallback applies, but as an error.
    without = {"value": "default", "variant": None, "reason": "ERROR", "error": "GENERAL"}
    assert answers == [*(expected(call, snapshot) for call in CALLS), without]


class Web:
    """The web provider in a Node process, which prints a line for each round of answers."""

    def __init__(self, folder: Path, asked: str) -> None:
        self._process = subprocess.Popen(
            ["node", "ask_web_provider.mjs"],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.say(asked)

    @property
    def _pipes(self) -> tuple[IO[str], IO[str]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout

    def say(self, line: str) -> None:
        self._pipes[0].write(line + "\n")
        self._pipes[0].flush()

    def next(self) -> dict[str, Any]:
        """The next round: answers, flags that changed, and the statuses of the requests since the last one."""
        line = self._pipes[1].readline()
        assert line, "the provider has ended"
        round_: dict[str, Any] = json.loads(line)
        return round_

    def close(self) -> None:
        for pipe in self._pipes:
            pipe.close()
        self._process.wait(ANSWER_SECONDS)


def test_the_web_provider_reads_all_flags_and_polls_for_changes(node: Path, server: Server, snapshot: Snapshot) -> None:
    context = {"targetingKey": UNIT, "country": "CN", "device_id": "d-1"}
    calls = tuple(
        call._replace(context=context)
        for call in CALLS
        if call.error in {None, "FLAG_NOT_FOUND"} and call.flag.count(".") < 2
    )
    web = Web(node, question(server, calls, context=context))
    try:
        first = web.next()
        assert first["statuses"] == [200]
        assert list(map(in_javascript, first["answers"])) == [expected(call, snapshot) for call in calls]
        server.call("POST", "/experiments/switch/pause")
        second = web.next()
        assert "switch" in second["changed"]
        assert second["statuses"][-1] == 200
        assert set(second["statuses"][:-1]) <= {304}
        switch = in_javascript(second["answers"][0])
        assert switch == {"value": False, "variant": "control", "reason": "DISABLED", "error": None}
        server.call("POST", "/experiments/switch/resume")
        assert in_javascript(web.next()["answers"][0])["reason"] == "SPLIT"
        web.say(json.dumps({**context, "country": "US"}))
        third = web.next()
        targeted = next(answer for call, answer in zip(calls, third["answers"], strict=True) if call.flag == "targeted")
        assert in_javascript(targeted) == expected(WITHOUT_VALUE, snapshot)
    finally:
        web.close()
