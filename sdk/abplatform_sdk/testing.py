"""For the tests of a product: a client without a network, whose variants are chosen and whose events are kept.

All but the network is real: evaluation, checks, encoding, one exposure per hour. What `TestingClient.exposures` and
`TestingClient.conversions` hold is what would have been sent, to the letter.

>>> client = TestingClient(variants={"rate-display": "treatment"}, payloads={"rate-display": {"copy": "350 a year"}})
>>> client.assign("rate-display", "u-1").payload
{'copy': '350 a year'}
>>> [(event["variant"], event["unit_id"]) for event in client.exposures]
[('treatment', 'u-1')]
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, Self, cast

from ._assignment import Reason
from .client import Client
from .decision import Decision
from .documents import Document, Scene, read_document
from .documents import make_experiment as experiment
from .documents import make_snapshot as snapshot
from .reply import Reply
from .stats import FlushResult

if TYPE_CHECKING:
    from .transport import Transport

__all__ = ["TestingClient", "UndefinedExperiment", "client", "experiment", "snapshot"]

_OWN = object()


class UndefinedExperiment(AssertionError):
    """A strict `TestingClient` was asked about an experiment that the test does not define."""


class TestingClient(Client):
    """A `Client` that decides from a document and keeps its events in memory.

    Args:
        variants: by experiment, the variant that every unit gets; as `force`.
        payloads: by experiment, the payload of that variant.
        snapshot: what else there is: a document (see `snapshot`), its bytes, or a file.
        strict: raise `UndefinedExperiment` where the real client answers ``UNKNOWN_EXPERIMENT``.

    Raises:
        OSError: the file cannot be read.
        ValueError: the document is no snapshot, or an experiment has no such variant; the message names the field.
    """

    __test__ = False  # not a test, whatever its name begins with

    # Asked anew each time: a library that sets the time of a test replaces `time.time`.
    _clock = staticmethod(lambda: time.time())  # noqa: PLW0108

    def __init__(
        self,
        *,
        variants: Mapping[str, str] | None = None,
        payloads: Mapping[str, Any] | None = None,
        snapshot: bytes | Mapping[str, Any] | str | PathLike[str] | None = None,
        strict: bool = False,
    ) -> None:
        variants, payloads = variants or {}, payloads or {}
        if stray := payloads.keys() - variants.keys():
            raise ValueError(f"payloads.{min(stray)}: variants names no variant for it")
        self._strict = strict
        self._scene = Scene(read_document(snapshot))
        self._memory = _Memory()
        self._of_unit: dict[str, Client] = {}
        # Events wait until they are asked for.
        super().__init__("http://testing.invalid", "testing", cache_dir=None, flush_interval=60)
        self._polling.stop()
        for key, variant in variants.items():
            self._scene.choose(key, variant, None, *([payloads[key]] if key in payloads else []))
        self._show()

    @classmethod
    def from_snapshot(cls, snapshot: bytes | Mapping[str, Any] | str | PathLike[str]) -> Self:
        """As ``TestingClient(snapshot=snapshot)``: events are kept."""
        return cls(snapshot=snapshot)

    def force(self, experiment: str, variant: str | None, *, unit_id: str | None = None, payload: Any = _OWN) -> None:
        """Choose what one unit, or each, draws: it is in the experiment and exposed (`Client.force` does not expose).

        Targeting, coverage, prerequisites, holdouts and status of the experiment no longer matter. It is made up if the
        document does not have it. Units that were exposed before are exposed again.

        Args:
            experiment: its key.
            variant: its key; None lifts what was forced.
            unit_id: of the default type; None is each unit that is not forced by its own id.
            payload: another one than the variant's own.

        Raises:
            ValueError: the experiment has no such variant.
        """
        self._scene.choose(experiment, variant, unit_id, *([] if payload is _OWN else [payload]))
        self._show()

    @property
    def exposures(self) -> list[Document]:
        """The exposures so far, those of holdouts among them, as they would have been sent."""
        return self._kept("/exposures")

    @property
    def conversions(self) -> list[Document]:
        """The conversions so far, as they would have been sent."""
        return self._kept("/conversions")

    def clear(self) -> None:
        """Forget the events so far, and which units were exposed."""
        self.flush()
        self._memory.events.clear()
        self._recorder.renew()

    def assign(
        self,
        experiment: str,
        unit_id: str | None,
        attributes: Mapping[str, Any] | None = None,
        *,
        units: Mapping[str, str] | None = None,
        default: Any = None,
    ) -> Decision:
        """As `Client.assign`."""
        own = self._own(unit_id)
        if own is None:
            return self._checked(super().assign(experiment, unit_id, attributes, units=units, default=default))
        decision = self._checked(own.evaluate(experiment, unit_id, attributes, units=units, default=default))
        self.expose(decision)
        self._listeners.tell(decision)
        return decision

    def evaluate(
        self,
        experiment: str,
        unit_id: str | None,
        attributes: Mapping[str, Any] | None = None,
        *,
        units: Mapping[str, str] | None = None,
        default: Any = None,
    ) -> Decision:
        """As `Client.evaluate`."""
        own = self._own(unit_id)
        evaluate = super().evaluate if own is None else own.evaluate
        return self._checked(evaluate(experiment, unit_id, attributes, units=units, default=default))

    def evaluate_all(
        self,
        unit_id: str | None,
        attributes: Mapping[str, Any] | None = None,
        *,
        units: Mapping[str, str] | None = None,
    ) -> dict[str, Decision]:
        """As `Client.evaluate_all`."""
        own = self._own(unit_id)
        evaluate_all = super().evaluate_all if own is None else own.evaluate_all
        return evaluate_all(unit_id, attributes, units=units)

    def close(self, timeout: float | None = None) -> FlushResult:
        """As `Client.close`; what was kept can still be read."""
        for own in self._of_unit.values():
            own.close(0)
        return super().close(timeout)

    def _own(self, unit_id: object) -> Client | None:
        return self._of_unit.get(unit_id) if isinstance(unit_id, str) else None

    def _open_transport(self) -> Transport:
        return cast("Transport", self._memory)

    def _show(self) -> None:
        """Decide from the scene as it is now, each forced unit from a document of its own, and expose anew."""
        self._memory.document = json.dumps(self._scene.document(None)).encode()
        self._poller.step()
        self._recorder.renew()
        for own in self._of_unit.values():
            own.close(0)
        self._of_unit = {unit: Client.from_snapshot(self._scene.document(unit)) for unit in self._scene.units()}

    def _checked(self, decision: Decision) -> Decision:
        if self._strict and decision.reason == Reason.UNKNOWN_EXPERIMENT:
            raise UndefinedExperiment(f"the test does not define the experiment {decision.experiment!r}")
        return decision

    def _kept(self, path: str) -> list[Document]:
        self.flush()
        return [event for sent_to, event in list(self._memory.events) if sent_to == path]


client = TestingClient


class _Memory:
    """In the place of the transport: answers as a server does that takes everything."""

    def __init__(self) -> None:
        self.document = b""
        self.events: list[tuple[str, Document]] = []

    def get(self, path: str, *, etag: str | None, most_bytes: int) -> Reply:  # noqa: ARG002
        return Reply(200, self.document, etag=None, retry_after=0.0)

    def post(self, path: str, body: bytes, *, most_bytes: int, budget: float | None = None) -> Reply:  # noqa: ARG002
        events = json.loads(body)["events"]
        self.events += [(path, event) for event in events]
        receipt = {"accepted": len(events), "rejected": []}
        return Reply(202, json.dumps(receipt).encode(), etag=None, retry_after=0.0)

    def close(self) -> None:
        pass
