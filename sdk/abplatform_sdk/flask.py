"""Flask: one client per application, one unit per request.

>>> experiments = Experiments(unit=lambda request: request.cookies.get("customer"))
>>> experiments.init_app(app)                                                         # doctest: +SKIP
>>> experiments.assign("rate-display", default={"copy": "3.5% a year"}).payload       # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, Request, current_app, has_request_context, request

from .client import Client
from .decision import Decision
from .middleware import BoundClient, Found, Unit

__all__ = ["BoundClient", "Experiments", "Unit"]

_EXTENSION = "abplatform"
_BOUND = "abplatform_sdk.bound"


class Experiments:
    """A Flask extension. Nothing that it does raises into a request or waits.

    Without ``client`` it makes one from the application's settings ``ABPLATFORM_URL``, ``ABPLATFORM_API_KEY`` and,
    where wanted, ``ABPLATFORM_OPTIONS`` (keyword options of `Client`), which closes itself at the end of the process.

    Templates get ``variant(experiment)`` and ``payload(experiment, default)``; both log the exposure.

    Args:
        app: the application; None for `init_app` later.
        client: an existing client, to be shared by all applications.
        unit: from a request to its `Unit`, its id alone, or None for nobody. Called once per request, when first
            needed.

    Raises:
        ValueError: as `init_app`.
    """

    def __init__(
        self, app: Flask | None = None, *, client: Client | None = None, unit: Callable[[Request], Found]
    ) -> None:
        self._given = client
        self._unit = unit
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Make the client of ``app`` and register the functions for templates.

        Raises:
            ValueError: a setting is missing, or a bad one; the message names it.
        """
        app.extensions[_EXTENSION] = self._given if self._given is not None else _make_client(app)
        app.jinja_env.globals.update(variant=self._variant, payload=self._payload)

    @property
    def client(self) -> Client:
        """The client of the current application."""
        client: Client = current_app.extensions[_EXTENSION]
        return client

    @property
    def current(self) -> BoundClient:
        """The client bound to the unit of this request; outside of a request there is no unit."""
        if not has_request_context():
            return BoundClient(self.client, lambda: None)
        # Not on `g`: that lives as long as the application context, which may span several requests of a test.
        bound: BoundClient | None = request.environ.get(_BOUND)
        if bound is None:
            bound = request.environ[_BOUND] = BoundClient(self.client, lambda: self._unit(request))
        return bound

    def assign(self, experiment: str, *, default: Any = None) -> Decision:
        """Decide for the unit of this request, and log the exposure."""
        return self.current.assign(experiment, default=default)

    def track(self, event: str, **fields: Any) -> bool:
        """Log a conversion of the unit of this request; ``fields`` as `BoundClient.track`."""
        return self.current.track(event, **fields)

    def _variant(self, experiment: str) -> str | None:
        return self.assign(experiment).variant

    def _payload(self, experiment: str, default: Any = None) -> Any:
        return self.assign(experiment, default=default).payload


def _make_client(app: Flask) -> Client:
    for name in ("ABPLATFORM_URL", "ABPLATFORM_API_KEY"):
        if not app.config.get(name):
            raise ValueError(f"{name} must be set, or a client given")
    options = app.config.get("ABPLATFORM_OPTIONS") or {}
    return Client(app.config["ABPLATFORM_URL"], app.config["ABPLATFORM_API_KEY"], **options)
