"""Whose connections are closed when they are silent: those of uploads that wait for the rest, and no others."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from abplatform.api.silence import SILENT_SECONDS, VISIT, Visits, hang_up

DESCRIPTORS = Path("/proc/self/fd")


def come(visits: Visits, remote: str) -> dict[str, Any]:
    environ = {"REMOTE_ADDR": remote}
    visits.begin(environ)
    return environ


def test_an_upload_is_silent_only_while_it_reads_and_after_long() -> None:
    visits = Visits()
    upload = come(visits, "10.0.0.1")
    with upload[VISIT].reading():
        now = time.monotonic()
        assert visits.find_silent(now + SILENT_SECONDS - 1) == set()
        assert visits.find_silent(now + SILENT_SECONDS + 1) == {"10.0.0.1"}
    assert visits.find_silent(now + SILENT_SECONDS + 1) == set()
    visits.end(upload)
    assert visits.find_silent(now + 2 * SILENT_SECONDS) == set()


def test_a_client_of_ipv4_on_a_server_of_ipv6_has_one_address() -> None:
    visits = Visits()
    upload = come(visits, "::ffff:10.0.0.1")
    with upload[VISIT].reading():
        assert visits.find_silent(time.monotonic() + SILENT_SECONDS + 1) == {"10.0.0.1"}
    visits.end(upload)


def test_what_takes_long_to_answer_keeps_its_address() -> None:
    visits = Visits()
    uploads = [come(visits, remote) for remote in ("10.0.0.1", "10.0.0.2")]
    for each in uploads:
        each[VISIT].is_reading = True
    analysis = come(visits, "10.0.0.1")
    later = time.monotonic() + SILENT_SECONDS + 1

    assert visits.find_silent(later) == {"10.0.0.2"}
    visits.end(analysis)
    assert visits.find_silent(later) == {"10.0.0.1", "10.0.0.2"}
    for each in uploads:
        visits.end(each)


def test_looking_for_connections_leaves_no_descriptor_behind() -> None:
    reading, writing = os.pipe()
    try:
        before = len(list(DESCRIPTORS.iterdir()))
        hang_up({"10.0.0.1"})
        assert len(list(DESCRIPTORS.iterdir())) == before
    finally:
        os.close(reading)
        os.close(writing)


def test_looking_for_connections_gives_up_no_lock(tmp_path: Path) -> None:
    file = tmp_path / "locked"
    with file.open("w") as locked:
        fcntl.lockf(locked, fcntl.LOCK_EX)
        hang_up({"10.0.0.1"})
        asks = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'w'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        another = subprocess.run([sys.executable, "-c", asks, str(file)], capture_output=True, check=False)
    assert b"BlockingIOError" in another.stderr
