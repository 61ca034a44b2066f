"""Settings from the environment."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from abplatform.errors import BadSetting
from abplatform.settings import Settings, read_settings

SECRET = "s" * 32


def test_nothing_set_means_the_embedded_default() -> None:
    settings = read_settings({"PATH": "/usr/bin", "HOME": "/root"})
    assert settings == Settings()
    assert settings.embedded
    assert settings.metadata_url == f"sqlite:///{Path.cwd() / '.abplatform/platform.db'}"
    assert settings.warehouse_url == (Path.cwd() / ".abplatform/lake").as_uri()


def test_every_setting_is_read() -> None:
    given = {
        "ABPLATFORM_HOME": "/srv/ab",
        "ABPLATFORM_DATABASE_URL": "postgresql://u:p@db:5432/ab",
        "ABPLATFORM_LAKE_URL": "file:///srv/lake",
        "ABPLATFORM_ENGINE_URL": "duckdb://",
        "ABPLATFORM_HOST": "0.0.0.0",
        "ABPLATFORM_PORT": "0",
        "ABPLATFORM_WORKERS": "4",
        "ABPLATFORM_PSEUDONYM_KEY": SECRET,
        "ABPLATFORM_SEAL_INTERVAL": "0.5",
        "ABPLATFORM_MAX_EVENT_AGE_DAYS": "30",
        "ABPLATFORM_ENGINE_MEMORY": "512MB",
    }
    assert {f"ABPLATFORM_{field.name.upper()}" for field in fields(Settings)} == set(given)
    settings = read_settings(given)
    assert settings == Settings(
        home=Path("/srv/ab"),
        database_url="postgresql://u:p@db:5432/ab",
        lake_url="file:///srv/lake",
        host="0.0.0.0",
        port=0,
        workers=4,
        pseudonym_key=SECRET,
        seal_interval=0.5,
        max_event_age_days=30,
        engine_memory="512MB",
    )
    assert read_settings(settings.as_environment()) == settings


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_postgresql_uses_psycopg(scheme: str) -> None:
    settings = Settings(database_url=f"{scheme}://u:p@db/ab?sslmode=require")
    assert settings.metadata_url == "postgresql+psycopg://u:p@db/ab?sslmode=require"
    assert not settings.embedded


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ABPLATFORM_PORTS", "80"),
        ("ABPLATFORM_", "80"),
        ("ABPLATFORM_port", "80"),
        ("ABPLATFORM_PORT", "65536"),
        ("ABPLATFORM_PORT", "-1"),
        ("ABPLATFORM_PORT", "٨٠"),
        ("ABPLATFORM_WORKERS", "0"),
        ("ABPLATFORM_WORKERS", "two"),
        ("ABPLATFORM_SEAL_INTERVAL", "0"),
        ("ABPLATFORM_SEAL_INTERVAL", "nan"),
        ("ABPLATFORM_SEAL_INTERVAL", "inf"),
        ("ABPLATFORM_MAX_EVENT_AGE_DAYS", "1.5"),
        ("ABPLATFORM_DATABASE_URL", "mysql://db/ab"),
        ("ABPLATFORM_DATABASE_URL", "postgresql://u:p@h:abc/db"),
        ("ABPLATFORM_LAKE_URL", "s3://bucket"),
        ("ABPLATFORM_LAKE_URL", "file://srv/lake"),
        ("ABPLATFORM_LAKE_URL", "file:rel"),
        ("ABPLATFORM_LAKE_URL", "file:///srv/lake#1"),
        ("ABPLATFORM_HOME", "/srv/what?"),
        ("ABPLATFORM_ENGINE_URL", "spark://local[2]"),
        ("ABPLATFORM_ENGINE_URL", "duckdb:///x.db"),
        ("ABPLATFORM_ENGINE_MEMORY", "2TB"),
        ("ABPLATFORM_ENGINE_MEMORY", "0GB"),
        ("ABPLATFORM_PSEUDONYM_KEY", "short"),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_clear_line(name: str, value: str) -> None:
    with pytest.raises(BadSetting) as refusal:
        read_settings({name: value})
    assert name in refusal.value.detail
    assert "\n" not in refusal.value.detail


def test_a_secret_is_not_repeated_in_the_refusal() -> None:
    with pytest.raises(BadSetting) as refusal:
        read_settings({"ABPLATFORM_PSEUDONYM_KEY": "not-long-enough"})
    assert "not-long-enough" not in refusal.value.detail
    with pytest.raises(BadSetting) as refusal:
        read_settings({"ABPLATFORM_DATABASE_URL": "postgresql+psycopg://user:hunter2@host/db"})
    assert "hunter2" not in refusal.value.detail


def test_a_shared_database_needs_a_shared_key() -> None:
    with pytest.raises(BadSetting, match="ABPLATFORM_PSEUDONYM_KEY must be set"):
        read_settings({"ABPLATFORM_DATABASE_URL": "postgresql://db/ab"})


def test_an_empty_value_is_the_default() -> None:
    assert read_settings({"ABPLATFORM_PORT": " ", "ABPLATFORM_DATABASE_URL": ""}) == Settings()
