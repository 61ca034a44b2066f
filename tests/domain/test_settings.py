"""Settings from the environment."""

from __future__ import annotations

import re
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
        "ABPLATFORM_INBOX_LIMIT": "1000",
        "ABPLATFORM_RETENTION_DAYS": "400",
        "ABPLATFORM_SNAPSHOT_HOURS": "48",
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
        inbox_limit=1000,
        retention_days=400,
        snapshot_hours=48,
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
        ("ABPLATFORM_LAKE_URL", "s3://"),
        ("ABPLATFORM_LAKE_URL", "s3://Bucket/lake"),
        ("ABPLATFORM_LAKE_URL", "s3://key:secret@bucket/lake"),
        ("ABPLATFORM_LAKE_URL", "s3://bucket/lake?region=x"),
        ("ABPLATFORM_LAKE_URL", "s3://bucket//lake"),
        ("ABPLATFORM_LAKE_URL", "file://srv/lake"),
        ("ABPLATFORM_LAKE_URL", "file:rel"),
        ("ABPLATFORM_LAKE_URL", "file:///srv/lake#1"),
        ("ABPLATFORM_HOME", "/srv/what?"),
        ("ABPLATFORM_ENGINE_URL", "duckdb:///x.db"),
        ("ABPLATFORM_ENGINE_URL", "spark://"),
        ("ABPLATFORM_ENGINE_URL", "spark://local"),
        ("ABPLATFORM_ENGINE_URL", "spark://local[0]"),
        ("ABPLATFORM_ENGINE_URL", "spark://local[2"),
        ("ABPLATFORM_ENGINE_URL", "spark://master"),
        ("ABPLATFORM_ENGINE_URL", "spark://master:0"),
        ("ABPLATFORM_ENGINE_URL", "spark://master:65536"),
        ("ABPLATFORM_ENGINE_URL", "spark://user:word@master:7077"),
        ("ABPLATFORM_ENGINE_URL", "spark://master:7077/path"),
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


@pytest.mark.parametrize("url", ["s3://bucket", "s3://my.bucket-1/teams/growth_lake/", "file:///srv/lake"])
def test_the_lake_is_a_folder_or_a_bucket(url: str) -> None:
    assert read_settings({"ABPLATFORM_LAKE_URL": f"{url} "}).lake_url == url


def test_events_are_kept_at_least_for_as_long_as_they_are_accepted() -> None:
    assert read_settings({"ABPLATFORM_MAX_EVENT_AGE_DAYS": "2000"}).retention_days == 2000
    with pytest.raises(BadSetting, match="RETENTION_DAYS must be at least ABPLATFORM_MAX_EVENT_AGE_DAYS") as refusal:
        read_settings({"ABPLATFORM_RETENTION_DAYS": "90"})
    way_out = re.search(r"set (\w+)=(\d+), retention follows it", refusal.value.detail)
    assert way_out
    assert read_settings({way_out[1]: way_out[2]}).retention_days == 90


@pytest.mark.parametrize("url", ["spark://local[2]", "spark://local[*]", "spark://spark-1.example:7077"])
def test_spark_is_local_or_a_cluster(url: str) -> None:
    assert read_settings({"ABPLATFORM_ENGINE_URL": f" {url}"}).engine_url == url


def test_spark_does_not_start_in_little_memory() -> None:
    little = {"ABPLATFORM_ENGINE_MEMORY": "511MB"}
    assert read_settings(little).engine_memory == "511MB"
    with pytest.raises(BadSetting, match="ABPLATFORM_ENGINE_MEMORY=511MB: Spark needs at least 512MB"):
        read_settings(little | {"ABPLATFORM_ENGINE_URL": "spark://local[2]"})


def test_a_secret_is_not_repeated_in_the_refusal() -> None:
    with pytest.raises(BadSetting) as refusal:
        read_settings({"ABPLATFORM_PSEUDONYM_KEY": "not-long-enough"})
    assert "not-long-enough" not in refusal.value.detail
    with pytest.raises(BadSetting) as refusal:
        read_settings({"ABPLATFORM_DATABASE_URL": "postgresql+psycopg://user:hunter2@host/db"})
    assert "hunter2" not in refusal.value.detail


def test_a_shared_database_needs_a_shared_key_and_a_shared_lake() -> None:
    shared = {"ABPLATFORM_DATABASE_URL": "postgresql://db/ab"}
    with pytest.raises(BadSetting, match="ABPLATFORM_PSEUDONYM_KEY must be set"):
        read_settings(shared)
    with pytest.raises(BadSetting, match="ABPLATFORM_LAKE_URL must be set when ABPLATFORM_DATABASE_URL is"):
        read_settings(shared | {"ABPLATFORM_PSEUDONYM_KEY": SECRET})


def test_an_empty_value_is_the_default() -> None:
    assert read_settings({"ABPLATFORM_PORT": " ", "ABPLATFORM_DATABASE_URL": ""}) == Settings()
