"""A whole platform behind the API's client, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from abplatform.api.app import create_app
from abplatform.bootstrap import Platform, build_platform, prepare_database
from abplatform.domain.access import KeyRole
from abplatform.services import access
from abplatform.settings import Settings
from tests.api.documents import experiment_body, holdout_body, layer_body, metric_body, segment_body, units_body
from tests.databases import Databases

BASE = "/api/v1"


class Caller:
    """Someone with a key; paths begin below ``/api/v1`` unless they name the root."""

    def __init__(self, app: Flask, secret: str | None) -> None:
        self._app = app
        self.secret = secret

    def call(self, method: str, path: str, *, headers: dict[str, str] | None = None, **body: Any) -> TestResponse:
        """Send one request (each has a client of its own, so that threads do not meet)."""
        known = {"Authorization": f"Bearer {self.secret}"} if self.secret else {}
        url = path.removeprefix("root:") if path.startswith("root:") else BASE + path
        return self._app.test_client().open(url, method=method, headers={**known, **(headers or {})}, **body)

    def get(self, path: str, **rest: Any) -> TestResponse:
        """Read."""
        return self.call("GET", path, **rest)

    def post(self, path: str, **rest: Any) -> TestResponse:
        """Create or do."""
        return self.call("POST", path, **rest)

    def patch(self, path: str, **rest: Any) -> TestResponse:
        """Edit."""
        return self.call("PATCH", path, **rest)

    def delete(self, path: str, **rest: Any) -> TestResponse:
        """Delete."""
        return self.call("DELETE", path, **rest)


class Service:
    """A platform and callers of every role."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.app = create_app(platform)
        self.admin = self.caller("admin")

    def caller(self, role: KeyRole, project: str = "default") -> Caller:
        """A caller with a new key."""
        now = self.platform.now()
        with self.platform.uow.begin() as work:
            work.projects.ensure(project, now=now)
            _, secret = access.create_key(work, project, role, name=role, now=now)
        return Caller(self.app, secret)

    def nobody(self, secret: str | None = None) -> Caller:
        """A caller without a key, or with that text for one."""
        return Caller(self.app, secret)

    def define(self, key: str = "rate-display", **changes: Any) -> None:
        """A draft with its metric."""
        metric = self.admin.post("/metrics", json=metric_body())
        assert metric.status_code in {201, 409}, metric.text
        created = self.admin.post("/experiments", json=experiment_body(key, **changes))
        assert created.status_code == 201, created.text

    def start(self, key: str = "rate-display", **changes: Any) -> None:
        """A running experiment."""
        self.define(key, **changes)
        started = self.admin.post(f"/experiments/{key}/start")
        assert started.status_code == 200, started.text

    def arrange(self) -> None:
        """A layer, a holdout from its experiments, a segment of values and one of units."""
        for path, body in (
            ("/layers", layer_body()),
            ("/holdouts", holdout_body(layers=["home-page"])),
            ("/segments", segment_body()),
            ("/segments", units_body()),
        ):
            made = self.admin.post(path, json=body)
            assert made.status_code == 201, made.text

    def stored(self) -> tuple[Any, ...]:
        """Everything that requests can bring into the platform, but for the refusals of events that it counts."""
        with self.platform.uow.reading() as work:
            definitions = [
                (
                    project.key,
                    work.experiments.all(project.key),
                    work.metrics.all(project.key),
                    work.layers.all(project.key),
                    work.holdouts.all(project.key),
                    work.segments.all(project.key),
                    work.behaviours.all(project.key),
                    work.keys.all(project.key),
                )
                for project in work.projects.all()
            ]
        waiting = [
            (
                kind,
                self.platform.inbox.pending("default", kind),
                {**self.platform.inbox.counters("default", kind), "rejected": None},
            )
            for kind in ("exposure", "conversion")
        ]
        return tuple(definitions), tuple(waiting)


def open_platform(url: str, home: Path) -> Platform:
    """A platform on that database, with a lake of its own."""
    settings = Settings(
        home=home,
        database_url=url,
        pseudonym_key="a pseudonym key for tests, 32+ characters",
        max_event_age_days=36_500,
    )
    prepare_database(settings)
    return build_platform(settings)


@pytest.fixture
def service(metadata_url: str, tmp_path: Path) -> Iterator[Service]:
    """A platform of the test's own."""
    with open_platform(metadata_url, tmp_path) as platform:
        yield Service(platform)


@pytest.fixture(scope="module")
def shared_service(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A platform that the tests of a module share, since they leave nothing behind."""
    url = databases.migrated()
    with open_platform(url, tmp_path_factory.mktemp("shared")) as platform:
        yield Service(platform)
    databases.drop(url)


@pytest.fixture
def unchanged(prepared: Service) -> Iterator[Service]:
    """The platform as a module has prepared it, for what must store nothing."""
    before = prepared.stored()
    yield prepared
    assert prepared.stored() == before
