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
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack, cast

from ._assignment import (
    BUCKETS,
    HASH_VERSION,
    SCHEMA_VERSION,
    Decider,
    Evaluation,
    ExperimentRule,
    Reason,
    Snapshot,
    coverage_slots,
    decode_snapshot,
    unanswered,
    variant_ranges,
)
from .answers import Overrides, Rule
from .client import Client
from .decision import Decision
from .reply import Reply
from .snapshot import Given, read_given

if TYPE_CHECKING:
    from .transport import Transport

__all__ = ["TestingClient", "UndefinedExperiment", "client", "experiment", "snapshot"]

Document = dict[str, Any]

_OWN = object()


class UndefinedExperiment(BaseException):
    """A strict `TestingClient` was asked about an experiment that the test does not define.

    No `Exception`, as little as a failure of pytest is one: neither the client nor the product takes it for a fault to
    go on from.
    """


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
        snapshot: Given | None = None,
        strict: bool = False,
    ) -> None:
        variants, payloads = variants or {}, payloads or {}
        if stray := payloads.keys() - variants.keys():
            raise ValueError(f"payloads.{min(stray)}: variants names no variant for it")
        self._strict = strict
        self._scene = _Scene(snapshot)
        self._memory = _Memory()
        # Events wait until they are asked for.
        super().__init__("http://testing.invalid", "testing", cache_dir=None, flush_interval=60)
        self._polling.stop()
        self._compiler.overrides = self._scene
        for key, variant in variants.items():
            self._scene.choose(key, variant, None, payloads.get(key, _OWN))
        self._show()

    @classmethod
    def from_snapshot(cls, snapshot: Given) -> Self:
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
            TypeError: the payload is not JSON.
            ValueError: the experiment has no such variant.
        """
        self._scene.choose(experiment, variant, unit_id, payload)
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

    def _open_transport(self) -> Transport:
        return cast("Transport", self._memory)

    def _fall_back(self, evaluation: Evaluation, default: Any) -> Decision:
        if self._strict and evaluation.reason == Reason.UNKNOWN_EXPERIMENT:
            raise UndefinedExperiment(f"the test does not define the experiment {evaluation.experiment!r}")
        return super()._fall_back(evaluation, default)

    def _show(self) -> None:
        """Decide from the scene as it is now, and expose anew."""
        self._memory.document = self._scene.document(None)
        self._poller.step()
        self._recorder.renew()

    def _kept(self, path: str) -> list[Document]:
        self.flush()
        return [event for sent_to, event in list(self._memory.events) if sent_to == path]


client = TestingClient


class ExperimentFields(TypedDict, total=False):
    """Fields of an experiment in a snapshot document that tests seldom need."""

    status: str
    phase: int
    unit_type: str
    shipped: str | None
    prerequisites: list[dict[str, Any]]
    holdouts: list[str]
    forced: dict[str, Any]


def experiment(
    key: str,
    *,
    variants: Mapping[str, Any] | Iterable[str] = ("control", "treatment"),
    control: str | None = None,
    weights: Mapping[str, float] | None = None,
    targeting: Mapping[str, Any] | None = None,
    coverage: float = 1.0,
    dimensions: Iterable[str] = (),
    **fields: Unpack[ExperimentFields],
) -> Document:
    """One experiment for `snapshot`: running, on everybody, equal weights. Its draws are the same in every run.

    Args:
        key: its key.
        variants: payloads by variant key, or the keys alone.
        control: key of a variant; the first one if absent.
        weights: by variant key; 1 where absent.
        targeting: a condition.
        coverage: share of the units that is in, 0 to 1.
        dimensions: names of the attributes that go with an exposure.
        fields: others, as in a snapshot document.

    Raises:
        TypeError: an unknown field.
        ValueError: weights or coverage out of range.
    """
    if unknown := set(fields) - set(ExperimentFields.__annotations__):
        raise TypeError(f"experiment() got an unexpected field {min(unknown)!r}")
    payloads = dict(variants) if isinstance(variants, Mapping) else dict.fromkeys(variants)
    ranges = variant_ranges([(weights or {}).get(name, 1) for name in payloads])
    phase = fields.get("phase", 1)
    rule: Document = {
        "status": "running",
        "hash_version": HASH_VERSION,
        "unit_type": "user_id",
        "phase": phase,
        "salt": f"{key}/phase {phase}",
        "layer": {"salt": f"{key}/layer", "slots": [list(slot) for slot in coverage_slots(coverage)]},
        "targeting": dict(targeting or {}),
        "variants": [
            {"key": name, "range": list(bounds), "payload": payload}
            for (name, payload), bounds in zip(payloads.items(), ranges, strict=True)
        ],
        "control": control if control is not None else next(iter(payloads)),
        "shipped": None,
        "dimensions": list(dimensions),
    }
    return {key: rule | fields}


def snapshot(
    *experiments: Document,
    version: int = 1,
    unit_type: str = "user_id",
    groups: Mapping[str, Any] | None = None,
    holdouts: Mapping[str, Any] | None = None,
) -> Document:
    """A snapshot document of experiments made by `experiment`.

    Raises:
        ValueError: two experiments of one key.
    """
    rules: Document = {}
    for each in experiments:
        if twice := rules.keys() & each.keys():
            raise ValueError(f"experiments.{min(twice)}: appears twice")
        rules |= each
    return {
        "schema_version": SCHEMA_VERSION,
        "version": version,
        "project": "test",
        "unit_type": unit_type,
        "groups": dict(groups or {}),
        "holdouts": dict(holdouts or {}),
        "experiments": rules,
    }


class _Scene(Overrides):
    """A snapshot document in which variants are chosen. Each unit with choices of its own has a snapshot of its own.

    Prerequisites see what was chosen, too.
    """

    def __init__(self, given: Given | None) -> None:
        super().__init__()
        content = snapshot() if given is None else read_given(given)
        self._snapshots: dict[str | None, Snapshot] = {None: decode_snapshot(content)}
        self._document: Document = json.loads(content) if isinstance(content, bytes) else dict(content)
        # By unit (None: every other one) and experiment: the variant, and its payload.
        self._chosen: dict[str | None, dict[str, tuple[str, Any]]] = {None: {}}
        self._changes = 0

    def choose(self, key: str, variant: str | None, unit_id: str | None, payload: Any) -> None:
        """Choose the variant of a unit and its payload, as `TestingClient.force` does. An error changes nothing."""
        before, choices = self._chosen, dict(self._chosen.get(unit_id, {}))
        choices.pop(key, None)
        if variant is not None:
            choices[key] = variant, payload
        self._chosen = before | {unit_id: choices}
        try:
            self._snapshots = {unit: decode_snapshot(self.document(unit)) for unit in self._chosen}
        except (TypeError, ValueError):
            self._chosen = before
            raise
        self._changes += 1

    def document(self, unit_id: str | None) -> bytes:
        """What a unit is decided from."""
        rules = dict(self._document["experiments"])
        for key, (variant, payload) in (self._chosen[None] | self._chosen[unit_id]).items():
            rules[key] = _give_to_all(rules.get(key) or self._make_up(key), variant, payload)
        # Only a greater version is a change.
        version = self._document["version"] + self._changes
        return json.dumps(self._document | {"version": version, "experiments": rules}).encode()

    def rules(self, snapshot: Snapshot | None) -> Mapping[str, Rule]:
        """The experiments of all, and those that were made up for one unit."""
        made_up = {key: rule for each in self._snapshots.values() for key, rule in each.experiments.items()}
        return made_up | dict(super().rules(snapshot))

    def apply(self, rule: ExperimentRule) -> Decider:
        """Each unit by its own snapshot, the others by that of all."""
        deciders = {
            unit: each.experiments[rule.key].decide
            for unit, each in self._snapshots.items()
            if rule.key in each.experiments
        }
        unknown = unanswered(rule.key, Reason.UNKNOWN_EXPERIMENT)
        for_others = deciders.pop(None, lambda *_: unknown)

        def decide(unit_id: Any, attributes: Any, units: Any) -> Evaluation:
            chosen = deciders.get(unit_id, for_others) if isinstance(unit_id, str) else for_others
            return chosen(unit_id, attributes, units)

        return decide

    def _make_up(self, key: str) -> Document:
        chosen = [choices[key][0] for choices in self._chosen.values() if key in choices]
        rule: Document = experiment(key, variants=dict.fromkeys(["control", *chosen]))[key]
        return rule


def _give_to_all(rule: Document, variant: str, payload: Any) -> Document:
    """The rule with every unit drawn into one of its variants, whatever else it says."""
    keys = [each["key"] for each in rule["variants"]]
    if variant not in keys:
        raise ValueError(f"variant: must be one of {', '.join(map(repr, keys))}, not {variant!r}")
    at = keys.index(variant)
    whole = [[0, 0]] * at + [[0, BUCKETS]] + [[BUCKETS, BUCKETS]] * (len(keys) - at - 1)
    variants = [each | {"range": bounds} for each, bounds in zip(rule["variants"], whole, strict=True)]
    if payload is not _OWN:
        variants[at]["payload"] = payload
    everybody = {"status": "running", "layer": rule["layer"] | {"slots": [[0, BUCKETS]]}, "variants": variants}
    conditions = ("targeting", "shipped", "forced", "holdouts", "prerequisites")
    return {name: value for name, value in rule.items() if name not in conditions} | everybody


class _Memory:
    """In the place of the transport: answers as a server does that takes everything."""

    def __init__(self) -> None:
        self.document = b""
        self.events: list[tuple[str, Document]] = []

    def get(self, path: str, **_: object) -> Reply:  # noqa: ARG002
        return Reply(200, self.document, etag=None, retry_after=0.0)

    def post(self, path: str, body: bytes, **_: object) -> Reply:
        events = json.loads(body)["events"]
        self.events += [(path, event) for event in events]
        receipt = {"accepted": len(events), "rejected": []}
        return Reply(202, json.dumps(receipt).encode(), etag=None, retry_after=0.0)

    def close(self) -> None:
        pass
