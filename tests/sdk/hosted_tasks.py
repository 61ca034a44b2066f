"""A product's Celery tasks; broker and results are folders, so that no server is needed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from abplatform_sdk import Client
from celery import Celery

from tests.sdk.server import KEY

# Collecting tests imports this module, too.
FOLDER = Path(os.environ.get("HOSTED_FOLDER", "/nonexistent"))
app = Celery("hosted_tasks", broker="filesystem://", backend=(FOLDER / "results").as_uri())
app.conf.update(
    broker_transport_options={
        "data_folder_in": str(FOLDER / "queue"),
        "data_folder_out": str(FOLDER / "queue"),
        "control_folder": str(FOLDER / "control"),
        "polling_interval": 0.02,
    },
    broker_connection_retry_on_startup=False,
    worker_prefetch_multiplier=1,
)
if "HOSTED_URL" in os.environ:
    client = Client(
        os.environ["HOSTED_URL"], KEY, cache_dir=None, poll_interval=0.05, flush_interval=60, close_timeout=5
    )


@app.task(name="remind")
def remind(unit: str) -> dict[str, Any]:
    """One reminder, in the words of the unit's variant."""
    client.wait_ready(5)
    decision = client.assign("rate-display", unit)
    client.track("reminded", unit)
    return {"pid": os.getpid(), "variant": decision.variant}


if __name__ == "__main__":
    import sys

    # What the web side of a product does, in a process of its own: tasks go out, answers come back.
    waiting = [remind.delay(unit) for unit in sys.argv[1:]]
    for result in waiting:
        answer = result.get(timeout=30, interval=0.02)
        print(answer["pid"], answer["variant"])
