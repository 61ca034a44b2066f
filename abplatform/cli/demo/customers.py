"""Simulated customers: each asks the real SDK which copy to see, and buys with a chance that depends on it.

What a customer would do under either copy is fixed by the customer's name alone, so that a run can be repeated and
only the draw of the variants differs.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from decimal import Decimal

import click

CUSTOMERS = 20_000
BASE_RATE = 0.20
EFFECT = 0.22
COMPLAINT_RATE = 0.02
CHANNELS = ("app", "branch", "douyin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """Customers who come through one process.

    Attributes:
        url, api_key: of the server.
        first, last: numbers of the customers, the last not included.
        seconds: over how long they come.
    """

    url: str
    api_key: str
    experiment: str
    first: int
    last: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """How many came, and what their SDK delivered."""

    customers: int
    delivered: int
    lost: int


def purchase_rate(variant: str | None) -> float:
    """The chance to buy: 22% higher, relatively, for whoever sees the treatment."""
    return BASE_RATE * (1 + EFFECT) if variant == "treatment" else BASE_RATE


def send_crowd(crowd: Crowd) -> Visit:
    """Let a crowd come, one customer after the other, and deliver all that they did."""
    from abplatform_sdk import Client

    client = Client(crowd.url, crowd.api_key, cache_dir=None, max_queue=100_000, poll_interval=1.0)
    if not client.wait_ready(timeout=20):
        raise click.ClickException(f"the SDK got no snapshot from {crowd.url}")
    begun = time.monotonic()
    people = crowd.last - crowd.first
    for position in range(people):
        if position % 50 == 0:
            _wait_until(begun + crowd.seconds * position / people)
        _visit(client, crowd.experiment, crowd.first + position)
    client.close(timeout=60)
    stats = client.stats()
    return Visit(customers=people, delivered=stats.delivered, lost=stats.produced - stats.delivered)


def _visit(client: object, experiment: str, number: int) -> None:
    from abplatform_sdk import Client

    assert isinstance(client, Client)  # noqa: S101 - narrows a type that must not be imported at the top
    customer = f"customer-{number:05d}"
    fate = random.Random(f"rate display {customer}")  # noqa: S311 - a simulation
    wish, trouble = fate.random(), fate.random()
    attributes = {"country": "CN", "channel": fate.choice(CHANNELS)}
    amount = Decimal(fate.randrange(100, 5_000)) * 10
    decision = client.assign(experiment, customer, attributes, default={"copy": "3.5% a year"})
    if wish < purchase_rate(decision.variant):
        client.track("purchase", customer, value=amount, properties={"product": "term-deposit"})
    if trouble < COMPLAINT_RATE:
        client.track("complaint", customer)


def _wait_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))
