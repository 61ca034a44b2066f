"""The generator of load: ``python -m benchmarks.event_load``, a process of its own with one thread.

Reads a line of JSON with the `Target`, then one with an `Order` for each stretch of load, and answers each with a
line: a `Report`.
"""

from __future__ import annotations

import gc
import json
import sys
from dataclasses import asdict

from benchmarks.event_load.bodies import Request, draw_population
from benchmarks.event_load.orders import Order, Target
from benchmarks.event_load.sender import Sender


def main() -> None:
    """Answer orders until there are no more."""
    target = Target(**json.loads(sys.stdin.readline()))
    population = draw_population(target.salt, units=target.units)
    headers = (
        f"Host: {target.host}:{target.port}\r\nAuthorization: Bearer {target.key}\r\nContent-Type: application/json\r\n"
    )
    requests = [
        Request(target.kinds[number % len(target.kinds)], target.batch, population, headers)
        for number in range(target.connections)
    ]
    gc.freeze()
    gc.disable()
    with Sender(target.host, target.port, requests) as sender:
        print("ready", flush=True)
        for line in sys.stdin:
            print(json.dumps(asdict(sender.send(Order(**json.loads(line))))), flush=True)


if __name__ == "__main__":
    main()
