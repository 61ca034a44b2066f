"""OpenFeature: experiments as flags, decided in this process by a `Client`.

>>> from openfeature import api
>>> provider = AbplatformProvider.connect("http://localhost:8080", os.environ["ABP_SDK_KEY"])  # doctest: +SKIP
>>> api.set_provider_and_wait(provider)                                                        # doctest: +SKIP
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Self, Unpack

try:
    from openfeature.evaluation_context import EvaluationContext
    from openfeature.event import ProviderEvent, ProviderEventDetails
    from openfeature.exception import ErrorCode, ProviderFatalError, ProviderNotReadyError
    from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason
    from openfeature.provider import AbstractProvider, Metadata
    from openfeature.track import TrackingEventDetails
except ImportError as error:
    raise ImportError("openfeature-sdk is needed: pip install 'abplatform-sdk[openfeature]'") from error

from .client import Client
from .config import Options
from .decision import copy_payload
from .notices import SnapshotNews
from .openfeature_flags import (
    BOOLEAN,
    FLOAT,
    INTEGER,
    OBJECT,
    STRING,
    Answer,
    BadContext,
    Call,
    Flag,
    FlagPage,
    ValueType,
    read_context,
    read_properties,
)

__all__ = ["AbplatformProvider"]

Object = Sequence[FlagValueType] | Mapping[str, FlagValueType]

_METADATA = Metadata("abplatform")
_REFUSALS = ("status 401", "status 403")
_LOOK = 0.02


class AbplatformProvider(AbstractProvider):
    """A provider of OpenFeature. What it resolves never raises and never waits.

    A flag is an experiment, whose value is the payload, or ``experiment.field``. Reasons, error codes and the rules for
    types stand in the documentation.

    Args:
        client: decides and logs. It stays open when the provider is shut down.
        log_exposures: whether resolving a flag logs the exposure: once per unit, experiment, phase and hour, and only
            where the value fits the type that was asked for.
        init_timeout: seconds that `initialize` waits for the first snapshot.

    Raises:
        ValueError: ``init_timeout`` is not a number of seconds.
    """

    def __init__(self, client: Client, *, log_exposures: bool = True, init_timeout: float = 5.0) -> None:
        super().__init__()
        if not isinstance(init_timeout, (int, float)) or not 0 <= init_timeout <= 3600:
            raise ValueError("init_timeout must be between 0 and 3600")
        self._log_exposures = log_exposures
        self._init_timeout = init_timeout
        self._connect: Callable[[], Client] | None = None
        self._is_shut = False
        self._is_settled = False
        self._forget: Callable[[], None] | None = None
        self._use(client)

    @classmethod
    def connect(
        cls,
        base_url: str,
        api_key: str,
        *,
        log_exposures: bool = True,
        init_timeout: float = 5.0,
        **options: Unpack[Options],
    ) -> Self:
        """A provider with a client of its own, which is closed with it, and made anew if it is initialised again.

        Arguments and errors are those of `Client` and of the class.
        """
        connect = partial(Client, base_url, api_key, **options)
        provider = cls(connect(), log_exposures=log_exposures, init_timeout=init_timeout)
        provider._connect = connect
        return provider

    def initialize(self, evaluation_context: EvaluationContext) -> None:  # noqa: ARG002 (each call has its own)
        """Wait for the first snapshot, at most ``init_timeout`` seconds.

        With a disk copy it waits for no more than one look, and for a key that is refused it does not. If the server is
        there later, the event READY tells.

        Raises:
            ProviderFatalError: there is no snapshot, and the server refuses the key.
            ProviderNotReadyError: there is no snapshot.
        """
        if self._is_shut and self._connect is not None:
            self._use(self._connect())
        self._is_shut = self._is_settled = False
        self._listen()
        self._wait(time.monotonic() + self._init_timeout)
        # News are told from here on.
        self._is_settled = True
        if self._store.current is None:
            trouble = self._poller.trouble
            kind = ProviderFatalError if _is_refusal(trouble) else ProviderNotReadyError
            raise kind(f"no snapshot: {trouble or 'the server has not answered'}")

    def shutdown(self) -> None:
        """Send what waits, tell no more news, and close the client if `connect` made it."""
        self._is_shut = True
        if self._forget is not None:
            self._forget()
            self._forget = None
        if self._connect is not None:
            self._client.close()
        else:
            self._client.flush()

    def get_metadata(self) -> Metadata:
        """The name of the provider."""
        return _METADATA

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """A flag whose value is a boolean."""
        return self._resolve(BOOLEAN, flag_key, default_value, evaluation_context)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """A flag whose value is a text, or the key of the variant where no variant has a payload."""
        return self._resolve(STRING, flag_key, default_value, evaluation_context)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """A flag whose value is an integer; 3.0 is none."""
        return self._resolve(INTEGER, flag_key, default_value, evaluation_context)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """A flag whose value is a number."""
        return self._resolve(FLOAT, flag_key, default_value, evaluation_context)

    def resolve_object_details(
        self, flag_key: str, default_value: Object, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[Object]:
        """A flag whose value is an object or array, the caller's own copy."""
        details = self._resolve(OBJECT, flag_key, default_value, evaluation_context)
        if details.value is not default_value:
            details.value = copy_payload(details.value)
        return details

    def track(
        self,
        tracking_event_name: str,
        evaluation_context: EvaluationContext | None = None,
        tracking_event_details: TrackingEventDetails | None = None,
    ) -> None:
        """Log a conversion of the unit of the context. `Stats.reasons` of the client counts what is dropped."""
        try:
            unit_id, _, units = read_context(evaluation_context, self._current_page().other_types)
            value = None if tracking_event_details is None else tracking_event_details.value
            properties = read_properties(tracking_event_details)
        except Exception:  # noqa: BLE001 (the product's own objects; it is counted, as an invalid unit)
            unit_id = units = value = properties = None
        self._client.track(tracking_event_name, unit_id, value=value, properties=properties or None, units=units)

    def _use(self, client: Client) -> None:
        self._client = client
        # One of us: what answers is looked at on each call, and must cost nothing.
        self._store, self._poller = client._store, client._poller  # noqa: SLF001
        self._is_given = self._store.source == "given"
        self._evaluate = client.evaluate
        self._assign = client.assign if self._log_exposures else self._evaluate
        self._page = FlagPage(self._store.current)

    def _listen(self) -> None:
        if self._forget is None:
            self._forget = self._client.add_snapshot_listener(self._hear)

    def _wait(self, deadline: float) -> None:
        self._client.wait_ready(0)
        while not self._is_fresh() and (left := deadline - time.monotonic()) > 0:
            trouble = self._poller.trouble
            if trouble is not None and (self._store.current is not None or _is_refusal(trouble)):
                return
            self._poller.wait(min(left, _LOOK))

    def _is_fresh(self) -> bool:
        return self._is_given or self._poller.is_fresh

    def _hear(self, news: SnapshotNews) -> None:
        if not self._is_settled or self._is_shut:
            return
        details = ProviderEventDetails(message=news.message)
        if news.version is not None:
            details.metadata["version"] = str(news.version)
        if news.kind == "error":
            is_fatal = _is_refusal(news.message)
            details.error_code = ErrorCode.PROVIDER_FATAL if is_fatal else ErrorCode.PROVIDER_NOT_READY
        self.emit(_EVENTS[news.kind], details)

    def _current_page(self) -> FlagPage:
        page = self._page
        if page.snapshot is not self._store.current:
            page = self._page = FlagPage(self._store.current)
        return page

    def _resolve(
        self, value_type: ValueType, flag_key: str, default: Any, context: EvaluationContext | None
    ) -> FlagResolutionDetails[Any]:
        try:
            page = self._current_page()
            unit_id, attributes, units = call = read_context(context, page.other_types)
            flag = page.flags[value_type].get(flag_key)
            if flag is None:
                return self._details(self._ask_first(page.compile(value_type, flag_key), call), default)
            evaluation = self._assign(flag.experiment, unit_id, attributes, units=units)._evaluation  # noqa: SLF001
            return self._details(flag.answers.get(id(evaluation)) or flag.answer(evaluation), default)
        except BadContext as error:
            return _failed(default, ErrorCode.INVALID_CONTEXT, str(error))
        except Exception as error:  # noqa: BLE001 (arguments are the product's own objects; its request must go on)
            return _failed(default, ErrorCode.GENERAL, f"the arguments cannot be read: {type(error).__name__}")

    def _ask_first(self, flag: Flag, call: Call) -> Answer:
        """Decide, and only then log the exposure, if the value fits."""
        unit_id, attributes, units = call
        decision = self._evaluate(flag.experiment, unit_id, attributes, units=units)
        answer = flag.answer(decision._evaluation)  # noqa: SLF001 (one of us)
        if answer.error_code is None and self._log_exposures:
            self._assign(flag.experiment, unit_id, attributes, units=units)
        return answer

    def _details(self, answer: Answer, default: Any) -> FlagResolutionDetails[Any]:
        _, value, has_value, variant, reason, metadata, error_code, message = answer
        if error_code is None and not self._is_given and not self._poller.is_fresh:
            reason = Reason.STALE
        return FlagResolutionDetails(
            value if has_value else default, error_code, message, reason, variant, metadata.copy()
        )


def _failed(default: Any, code: ErrorCode, message: str) -> FlagResolutionDetails[Any]:
    return FlagResolutionDetails(default, code, message, Reason.ERROR)


def _is_refusal(trouble: str | None) -> bool:
    return (trouble or "").startswith(_REFUSALS)


_EVENTS = {
    "ready": ProviderEvent.PROVIDER_READY,
    "changed": ProviderEvent.PROVIDER_CONFIGURATION_CHANGED,
    "stale": ProviderEvent.PROVIDER_STALE,
    "error": ProviderEvent.PROVIDER_ERROR,
}
