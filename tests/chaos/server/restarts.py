"""D-7: the database server is restarted under load."""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.row import Row, progress
from tests.chaos.server.failing_disk import healing, time_to_heal
from tests.chaos.server.load import sending
from tests.chaos.server.postgres import running_postgres
from tests.chaos.server.scene import a_scene, compare, rows

RESTARTS = 3


def measure() -> Iterator[Row]:
    """Restart PostgreSQL, in order and by a crash in turns."""
    yield from restart_often(RESTARTS)


def restart_often(restarts: int) -> Iterator[Row]:
    """Restart it so often in order, and as often by a crash."""
    healed = []
    with running_postgres() as server, a_scene(server.url("postgres")) as (installation, ledger):
        with sending(installation.port, installation.key, ledger) as load:
            for number in range(2 * restarts):
                load.acknowledge_some()
                away = server.crash() if number % 2 else server.restart()
                load.count_anew()
                # Requests under way are answered with 503 while it is away.
                healed.append(time_to_heal(installation, load))
                progress(f"away for {away:.2f} s, events are taken {healed[-1]:.2f} s later, {dict(ledger.statuses)}")
            load.acknowledge_some()
            load.hold()
            before = compare(installation, ledger, complete=False)
            load.finish()
        last = compare(installation, ledger, complete=True)
    what = f"postgresql restarted {restarts} times, crashed {restarts} times"
    yield Row("D-7", f"{what}: acknowledged events lost 0, counted twice 0", str(before), before.sound)
    yield from rows("D-7", f"{what} under load", last, load, faults=2 * restarts, others=[before])
    refused = ledger.statuses[503]
    yield Row("D-7", f"{what}: some requests are answered with 503", f"{refused}", refused > 0)
    yield healing("D-7", what, healed)
