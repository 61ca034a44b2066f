"""Times one SDK: reads ``evaluate``, ``assign`` or ``many`` and a round, answers JSON with the seconds.

Started by `benchmarks.decisions` with the interpreter of the peers' environment and the name of a peer. Each SDK has a
process of its own, so that the threads of one do not run while another is timed.
"""

from __future__ import annotations

import gc
import importlib
import json
import logging
import math
import os
import sys
import time

from benchmarks.sdk_peers.work import ATTRIBUTES, MANY, OFF, VARIANTS, Peer

# A round is short, so that most rounds are not interrupted.
UNITS = 1_000
WARM_UP = 200
USERS = 1
CHECKED = 2_000
SIGMAS = 5


def check(peer: Peer) -> None:
    """Refuse to time a peer that does not do the work.

    Variants must come in equal shares, within five standard deviations of a binomial share, and nobody who is not
    targeted may get one.
    """
    units = [f"checked-{number}" for number in range(CHECKED)]
    _check_shares([peer.variant(unit, ATTRIBUTES) for unit in units])
    for other in ({"country": "US", "age": 30}, {"country": "CN", "age": 17}):
        answers = {peer.variant(unit, other) for unit in units[:100]}
        if answers != {OFF}:
            raise RuntimeError(f"{other} is not targeted and got {sorted(answers)}")
    many = {key: getattr(answer, "variant", answer) for key, answer in peer.evaluate_many(units[0]).items()}
    if set(many) != set(MANY):
        raise RuntimeError("not all experiments were decided")
    _check_shares([str(answer) for answer in many.values()])
    peer.settle()


def _check_shares(answers: list[str]) -> None:
    control = answers.count(VARIANTS[0])
    if set(answers) != set(VARIANTS) or abs(control - len(answers) / 2) > SIGMAS * math.sqrt(len(answers) / 4):
        raise RuntimeError(f"{control} of {len(answers)} got {VARIANTS[0]}, the answers were {sorted(set(answers))}")


def timed(peer: Peer, work: str, round_number: int) -> dict[str, float]:
    """One piece of work on units that this peer has not seen.

    Some more go before the clock starts, since other processes have had the caches meanwhile. `seconds` are those of
    one decision, `exposures` those that were queued for one.
    """
    units = [f"user-{work}-{round_number}-{number}" for number in range(WARM_UP + UNITS)]
    gc.collect()
    if work == "many":
        return {"seconds": _time_many(peer, units[:USERS], units[-1])}
    decide = peer.assign if work == "assign" else peer.evaluate
    decide(units[:WARM_UP])
    start = time.perf_counter()
    decide(units[WARM_UP:])
    seconds = (time.perf_counter() - start) / UNITS
    return {"seconds": seconds, "exposures": peer.settle() / len(units)}


def _time_many(peer: Peer, users: list[str], other: str) -> float:
    peer.evaluate_many(other)
    start = time.perf_counter()
    for user in users:
        peer.evaluate_many(user)
    return (time.perf_counter() - start) / len(users) / len(MANY)


def main(name: str) -> None:
    """Answer until the input ends. The peer is checked again then: some refresh what they decide from."""
    logging.disable()
    peer: Peer = importlib.import_module(f"benchmarks.sdk_peers.{name}").start()
    check(peer)
    print(json.dumps({"ready": name}), flush=True)
    for line in sys.stdin:
        work, round_number = line.split()
        print(json.dumps(timed(peer, work, int(round_number))), flush=True)
    check(peer)
    # Some peers have threads that would send what is queued, and wait for it.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
