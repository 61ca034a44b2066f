"""The client: decisions from memory, events in the background."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, Unpack

from . import process
from ._assignment import Evaluation, Reason, Snapshot, decode_snapshot, unanswered
from .answers import NOTHING, Compiler, evaluate_all
from .config import Config, Options, bounded
from .counts import FlushResult, Stats
from .decision import Decision, decision_with_default
from .delivery import Delivery
from .notices import Listeners, SnapshotNews, Troubles
from .recorder import Recorder
from .reply import Connection
from .snapshot import Given, Poller, SnapshotStore, open_disk_copy, read_given

if TYPE_CHECKING:
    from .transport import Transport

_POLL_GRACE = 0.2


class Client:
    """Answers which variant a unit gets, and reports exposures and conversions.

    Make one per process and keep it. `assign`, `evaluate`, `evaluate_all`, `expose`, `track` and `stats` never raise
    and never wait for the network; `wait_ready`, `flush` and `close` wait, at most as long as they are told. Threads
    start on first use and again in a forked child, so a client may be made before a server forks its workers. At the
    end of the interpreter it closes itself.

    Args:
        base_url: where the platform answers, such as ``https://ab.example.com``.
        api_key: a key of the role ``sdk``.
        options: see `Config`.

    Raises:
        ValueError: an option is out of its range; the message names it.
    """

    _clock = staticmethod(time.time)

    def __init__(self, base_url: str, api_key: str, **options: Unpack[Options]) -> None:
        self._set_up(Config(base_url=base_url, api_key=api_key, **options))
        self._store.load_disk_copy()

    @classmethod
    def from_snapshot(cls, snapshot: Given) -> Self:
        """A client without a server: it decides from one snapshot for ever and sends nothing.

        Events are checked, then dropped for the reason ``offline``.

        Args:
            snapshot: a file with what ``GET /api/v1/snapshot`` answered, or its bytes, or the parsed document.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is not a snapshot; the message names the field.
        """
        given = decode_snapshot(read_given(snapshot))
        client = cls.__new__(cls)
        client._set_up_offline(given)  # noqa: SLF001 (one of us)
        return client

    def _set_up(self, config: Config) -> None:
        self._config = config
        self._lock = threading.RLock()
        self._connection = Connection(config)
        self._closed = False
        self._evaluation_errors = 0
        self._troubles = Troubles()
        self._listeners: Listeners[Decision] = Listeners()
        self._snapshot_listeners: Listeners[SnapshotNews] = Listeners()
        # What answers; empty until the poller runs, so that the first call of a process takes the longer way.
        self._assign, self._evaluate = NOTHING[:2]
        self._is_polling = False
        self._store = SnapshotStore(open_disk_copy(config), install=self._install)
        self._poller = Poller(
            self._store,
            transport=self._open_transport,
            interval=config.poll_interval,
            troubles=self._troubles,
            tell=self._snapshot_listeners.tell,
        )
        self._polling = process.Worker("abplatform-snapshot", self._look, troubles=self._troubles)
        self._delivery = Delivery(
            config,
            transport=self._open_transport,
            troubles=self._troubles,
            on_start=process.close_with_child,
        )
        exposures, conversions = self._delivery.exposures.buffer, self._delivery.conversions.buffer
        self._recorder = Recorder(exposures, conversions, clock=self._clock)
        self._compiler = Compiler(self._store, self._recorder, self._fall_back)
        process.register(self, config.close_timeout)

    def _set_up_offline(self, snapshot: Snapshot) -> None:
        self._set_up(Config(base_url="http://offline.invalid", api_key="offline", cache_dir=None))
        self._store.hold(snapshot, "given")
        self._delivery.seal("offline")
        self._polling.stop()
        self._is_polling = True
        self._install()

    def assign(
        self,
        experiment: str,
        unit_id: str | None,
        attributes: Mapping[str, Any] | None = None,
        *,
        units: Mapping[str, str] | None = None,
        default: Any = None,
    ) -> Decision:
        """Decide, and log the exposure: once per unit, experiment, phase and hour in this process.

        Args:
            experiment: its key.
            unit_id: id of the project's default unit type, at most 256 characters.
            attributes: what targeting reads; only the experiment's dimensions leave the process.
            units: ids of other unit types, by type.
            default: the payload where there is no variant.
        """
        try:
            answer = self._assign.get(experiment)
            decision = (
                answer(unit_id, attributes, units, default)
                if answer is not None
                else self._take_longer(experiment, unit_id, attributes, units, default=default, exposed=True)
            )
        except Exception:  # noqa: BLE001 (arguments are the product's own objects; its request must go on)
            decision = self._fail(default)
        if self._listeners.all:
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
        """Decide as `assign` does, without an exposure."""
        try:
            answer = self._evaluate.get(experiment)
            decision = (
                answer(unit_id, attributes, units, default)
                if answer is not None
                else self._take_longer(experiment, unit_id, attributes, units, default=default, exposed=False)
            )
        except Exception:  # noqa: BLE001 (as in assign)
            decision = self._fail(default)
        return decision

    def evaluate_all(
        self,
        unit_id: str | None,
        attributes: Mapping[str, Any] | None = None,
        *,
        units: Mapping[str, str] | None = None,
    ) -> dict[str, Decision]:
        """Decide every experiment of the snapshot, without exposures: by key, empty before the first snapshot."""
        answers = self._compiler.answers
        try:
            self._start_polling()
            answers = self._compiler.latest()
            return evaluate_all(answers, unit_id, attributes, units, self._fall_back)
        except Exception:  # noqa: BLE001 (as in assign)
            return {key: self._fail(None) for key in answers.evaluate}

    def force(self, experiment: str, variant: str | None, *, unit_id: str | None = None) -> None:
        """Give a variant to one unit, or to all, in this process: for QA. Such decisions have no exposure.

        Args:
            experiment: its key; while the snapshot does not have it, or not that variant, nothing is forced.
            variant: its key; None lifts what was forced.
            unit_id: of the default type; None is every unit that is not forced by its own id.
        """
        self._compiler.force(experiment, variant, unit_id)
        self._install()

    def add_listener(self, listener: Callable[[Decision], object]) -> Callable[[], None]:
        """Call ``listener`` with each decision of `assign`, in the calling thread; gives what takes it away again.

        What it raises is counted (`Stats.listener_errors`) and goes no further.
        """
        return self._listeners.add(listener)

    def add_snapshot_listener(self, listener: Callable[[SnapshotNews], object]) -> Callable[[], None]:
        """Call ``listener`` with news of the snapshot, in the thread that polls; as `add_listener`."""
        return self._snapshot_listeners.add(listener)

    def expose(self, decision: Decision) -> bool:
        """Log the exposure of a decision, when the product really shows it.

        True if it is logged, now or before in this hour; False if the decision has none (only ``ASSIGNED`` has
        one) or if it was dropped.
        """
        return type(decision) is Decision and self._recorder.expose(decision)

    def track(
        self,
        event: str,
        unit_id: str | None,
        *,
        value: Decimal | float | str | None = None,
        properties: Mapping[str, str | int | float | bool | None] | None = None,
        units: Mapping[str, str] | None = None,
        timestamp: datetime | None = None,
        event_id: str | None = None,
    ) -> bool:
        """Log a conversion. False if it was dropped; `Stats.reasons` counts why.

        Args:
            event: its name, at most 128 characters.
            unit_id: as in `assign`; None where ``units`` names a unit of another type (a device before the login).
            value: an amount, rounded half-even to 6 places; at most 14 digits before the point.
            properties: at most 64 flat values.
            units: ids of other unit types, by type.
            timestamp: when it happened, with a time zone; now if absent.
            event_id: an id of the product's own, at most 64 characters: the platform counts it once, however
                often it is sent.
        """
        return self._recorder.track(
            event,
            unit_id,
            value=value,
            properties=properties,
            units=units,
            timestamp=timestamp,
            event_id=event_id,
        )

    def wait_ready(self, timeout: float = 5.0) -> bool:
        """Wait until the server has given or confirmed a snapshot, at most ``timeout`` seconds.

        True if decisions can be made, be it from the disk copy.
        """
        if self._store.source != "given" and not self._closed and self._start_polling():
            self._poller.wait(bounded(timeout, self._config.close_timeout))
        return self._store.current is not None

    def flush(self, timeout: float | None = None) -> FlushResult:
        """Send what waits now, in at most ``timeout`` seconds (default: `Config.close_timeout`).

        What cannot be delivered in time keeps waiting.
        """
        return self._delivery.flush(time.monotonic() + bounded(timeout, self._config.close_timeout))

    def stats(self) -> Stats:
        """Counts of this client in this process."""
        account = self._delivery.account()
        snapshot, confirmed_at = self._store.current, self._poller.confirmed_at
        return Stats(
            *account[:5],
            reasons=MappingProxyType(dict(account.reasons)),
            evaluation_errors=self._evaluation_errors,
            snapshot_version=None if snapshot is None else snapshot.version,
            snapshot_source=self._store.source,
            snapshot_age=None if confirmed_at is None else time.monotonic() - confirmed_at,
            poll_failures=self._poller.failures,
            cache_failures=self._store.cache_failures,
            listener_errors=self._listeners.errors + self._snapshot_listeners.errors,
        )

    def close(self, timeout: float | None = None) -> FlushResult:
        """Flush, then end the threads. Later calls decide from the last snapshot and log nothing.

        What is left after ``timeout`` seconds (default: `Config.close_timeout`) is dropped as ``undelivered``.
        """
        with self._lock:
            first, self._closed = not self._closed, True
        if not first:
            return FlushResult()
        deadline = time.monotonic() + bounded(timeout, self._config.close_timeout)
        self._polling.stop()
        self._store.seal()
        result = self._delivery.close(deadline)
        # A poll that hangs has nothing to lose; its thread ends with its timeout, or with the process.
        self._polling.join(min(deadline - time.monotonic(), _POLL_GRACE))
        self._connection.close()
        process.unregister(self)
        return result

    def after_fork_in_child(self) -> None:
        """Begin anew in a forked child; the parent keeps its threads and sends what it had."""
        self._lock = threading.RLock()
        self._connection.renew()
        self._assign, self._evaluate = NOTHING[:2]
        self._is_polling = False
        self._evaluation_errors = 0
        self._listeners.renew()
        self._snapshot_listeners.renew()
        self._compiler.renew()
        self._poller.renew()
        self._polling.renew()
        self._recorder.renew()
        self._delivery.renew()
        if self._closed:  # the fork may have come in the middle of it
            self._polling.stop()
            self._delivery.seal("closed")
        if self._store.source == "given":
            self._is_polling = True
            self._install()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take_longer(
        self, experiment: Any, unit_id: Any, attributes: Any, units: Any, *, default: Any, exposed: bool
    ) -> Decision:
        """Decide at the first call of a process, for an experiment that is not there, and after `close`."""
        self._start_polling()
        answers = self._compiler.latest()
        answer = (answers.assign if exposed else answers.evaluate).get(experiment)
        if answer is not None:
            return answer(unit_id, attributes, units, default)
        if not isinstance(experiment, str):
            return self._fail(default)
        is_ready = self._store.current is not None
        reason = Reason.UNKNOWN_EXPERIMENT if is_ready else Reason.NOT_READY
        return self._fall_back(unanswered(str.__str__(experiment), reason), default)

    def _fail(self, default: Any) -> Decision:
        return self._fall_back(unanswered("", Reason.ERROR), default)

    def _fall_back(self, evaluation: Evaluation, default: Any) -> Decision:
        if evaluation.reason == Reason.ERROR:
            with self._lock:
                self._evaluation_errors += 1
        return decision_with_default(evaluation, default)

    def _start_polling(self) -> bool:
        """Let the poller run; False where no thread is to be had, as at the end of the process, and after `close`."""
        if not self._is_polling and self._polling.ensure():
            with self._lock:
                # In this order: another thread that finds a poller finds its answers, too.
                self._assign, self._evaluate = self._compiler.latest()[:2]
                self._is_polling = True
        return self._is_polling

    def _install(self) -> None:
        with self._lock:
            # Without a poller each call takes the longer way, and so tries to start one.
            self._assign, self._evaluate = (self._compiler.latest() if self._is_polling else NOTHING)[:2]

    def _look(self) -> float:
        self._delivery.report_drops()
        return self._poller.step()

    def _open_transport(self) -> Transport:
        return self._connection.open()
