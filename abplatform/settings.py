"""Settings from the environment: ``ABPLATFORM_*``, each with a default, nothing else.

An unknown name or a value that cannot be used stops the start with one line (`docs/settings.md` lists all).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from urllib.parse import urlsplit

from abplatform.errors import BadSetting

PREFIX = "ABPLATFORM_"
BUCKET_ADDRESS = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._=-]+)*/?")
_SPARK = re.compile(r"spark://(local\[(\*|[1-9][0-9]{0,3})\]|[A-Za-z0-9][A-Za-z0-9.-]*:(?P<port>[1-9][0-9]{0,4}))")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What can be set; each field is read from ``ABPLATFORM_`` + its name in capitals.

    Attributes:
        home: folder of the embedded default: ``platform.db``, ``lake/``, ``pseudonym.key``.
        database_url: metadata database; SQLite in ``home`` unless set
            (``postgresql://user:password@host:5432/name``).
        lake_url: where the Iceberg tables live; ``home/lake`` unless set (``file:///srv/lake``, ``s3://bucket/lake``).
            Required when ``database_url`` is set.
        engine_url: what reads the lake: ``duckdb://``, ``spark://local[2]``, ``spark://local[*]`` or
            ``spark://host:port`` (install ``abplatform[spark]``).
        host: address that ``abplatform serve`` binds.
        port: TCP port that ``abplatform serve`` binds; 0 picks a free one.
        workers: server processes that ``abplatform serve`` starts; by default one per processor, at most 4.
        pseudonym_key: secret for unit pseudonyms, at least 32 characters; by default a random one, made at the
            first start and kept in ``home/pseudonym.key``. Required when ``database_url`` is set.
        seal_interval: seconds between two rounds of the worker.
        inbox_limit: events that may wait to be sealed, of all projects; beyond it new ones get a 429.
        max_event_age_days: older events are refused.
        retention_days: sealed events are deleted when they are older; by default when no new one could be so old.
        snapshot_hours: for how long files of the lake stay readable after compaction or a deletion took them away.
        engine_memory: memory that one analysis may use before it spills to disk, for example ``2GB``; with Spark that
            of the driver and of each executor, at least ``512MB``.
    """

    home: Path = Path(".abplatform")
    database_url: str = field(default="", repr=False)  # may hold a password
    lake_url: str = ""
    engine_url: str = "duckdb://"
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = field(default_factory=lambda: min(4, os.cpu_count() or 1))
    pseudonym_key: str = field(default="", repr=False)
    seal_interval: float = 2.0
    inbox_limit: int = 20_000_000
    max_event_age_days: int = 1095
    retention_days: int = 1095
    snapshot_hours: int = 24
    engine_memory: str = "2GB"

    @property
    def embedded(self) -> bool:
        """Whether the metadata live in the SQLite file under ``home``."""
        return not self.database_url

    @property
    def metadata_url(self) -> str:
        """SQLAlchemy address of the metadata database."""
        if self.embedded:
            return f"sqlite:///{self.home.absolute() / 'platform.db'}"
        scheme, _, rest = self.database_url.partition("://")
        driver = "postgresql+psycopg" if scheme in {"postgres", "postgresql"} else scheme
        return f"{driver}://{rest}"

    @property
    def warehouse_url(self) -> str:
        """Root address of the lake."""
        return self.lake_url or (self.home.absolute() / "lake").as_uri()

    @property
    def keeps_own_lake(self) -> bool:
        """Whether the lake lies beside its database, in ``home``, so that both are moved and copied together."""
        return self.embedded and not self.lake_url

    def as_environment(self) -> dict[str, str]:
        """The same settings as environment variables, for a child process."""
        return {f"{PREFIX}{field.name.upper()}": str(getattr(self, field.name)) for field in fields(self)}


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Read and check all settings.

    Args:
        environment: variables to read; by default the process's own.

    Raises:
        BadSetting: for an unknown ``ABPLATFORM_*`` name or a value that cannot be used.
    """
    variables = os.environ if environment is None else environment
    given = {name: value for name, value in variables.items() if name.startswith(PREFIX)}
    values: dict[str, object] = {}
    for name, text in given.items():
        field_name = name.removeprefix(PREFIX).lower()
        if field_name not in _PARSERS or not name.isupper():
            known = ", ".join(sorted(PREFIX + each.upper() for each in _PARSERS))
            raise BadSetting(f"{name} is not a setting; the settings are {known}")
        if text.strip():
            values[field_name] = _parse(name, text, _PARSERS[field_name])
    if "max_event_age_days" in values:
        values.setdefault("retention_days", values["max_event_age_days"])
    settings = Settings(**values)  # type: ignore[arg-type]
    _check_together(settings)
    return settings


def _check_together(settings: Settings) -> None:
    """Refuse settings that do not go with each other."""
    days = settings.retention_days
    if days < settings.max_event_age_days:
        raise BadSetting(
            f"{PREFIX}RETENTION_DAYS must be at least {PREFIX}MAX_EVENT_AGE_DAYS ({settings.max_event_age_days}): "
            "what is still accepted must not be deleted at once; "
            f"set {PREFIX}MAX_EVENT_AGE_DAYS={days}, retention follows it"
        )
    if not settings.embedded and not settings.pseudonym_key:
        raise BadSetting(
            f"{PREFIX}PSEUDONYM_KEY must be set when {PREFIX}DATABASE_URL is: every server process needs the same one"
        )
    if not settings.embedded and not settings.lake_url:
        raise BadSetting(
            f"{PREFIX}LAKE_URL must be set when {PREFIX}DATABASE_URL is: every process needs the same lake, "
            "such as s3://bucket/lake, or file:///srv/lake where that folder is mounted on all machines"
        )
    if settings.engine_url.startswith("spark://") and _megabytes(settings.engine_memory) < 512:
        raise BadSetting(f"{PREFIX}ENGINE_MEMORY={settings.engine_memory}: Spark needs at least 512MB")


def _parse(name: str, text: str, parser: Callable[[str], object]) -> object:
    try:
        return parser(text)
    except ValueError as error:
        secret = name.endswith(("_KEY", "_URL"))  # an address may hold a password
        raise BadSetting(f"{name}: {error}" if secret else f"{name}={text!r}: {error}") from None


def _whole_number(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.strip().isascii() or not text.strip().isdigit() or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return parse


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.05 <= value <= 3600:
        raise ValueError("must be a number of seconds from 0.05 to 3600")
    return value


def _home(text: str) -> Path:
    if any(character in text for character in "?#\0"):
        raise ValueError("must not have ? or # in its path")
    return Path(text).expanduser()


def _database_address(text: str) -> str:
    parts = urlsplit(text.strip())
    if parts.scheme not in {"postgresql", "postgres", "sqlite"}:
        raise ValueError("must begin with postgresql:// or sqlite:///")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("must have a number as its port") from None
    return text.strip()


def _lake_address(text: str) -> str:
    parts = urlsplit(text.strip())
    if parts.scheme == "s3":
        return _bucket_address(text.strip())
    local = parts.scheme == "file" and parts.netloc in {"", "localhost"} and parts.path.startswith("/")
    if not local or parts.query or parts.fragment:
        raise ValueError(
            "must be file:// with an absolute path without ? and #, such as file:///srv/lake, or s3://bucket/prefix"
        )
    return text.strip()


def _bucket_address(address: str) -> str:
    if not BUCKET_ADDRESS.fullmatch(address):
        raise ValueError(
            "must be s3://bucket/prefix, the prefix of letters, digits and the characters . _ = - /, "
            "with keys and endpoint in the variables AWS_*"
        )
    return address


def _engine_address(text: str) -> str:
    address = text.strip()
    spark = _SPARK.fullmatch(address)
    if address != "duckdb://" and (spark is None or int(spark["port"] or 0) > 65535):
        raise ValueError("must be duckdb://, spark://local[2], spark://local[*] or spark://host:port")
    return address


def _secret(text: str) -> str:
    if len(text.strip()) < 32:
        raise ValueError("must have at least 32 characters")
    return text.strip()


def _memory(text: str) -> str:
    number, unit = text.strip()[:-2], text.strip()[-2:]
    if unit not in {"MB", "GB"} or not number.isdigit() or int(number) == 0:
        raise ValueError("must be a whole number with MB or GB, for example 2GB")
    return text.strip()


def _megabytes(memory: str) -> int:
    return int(memory[:-2]) * (1000 if memory.endswith("GB") else 1)


_PARSERS: dict[str, Callable[[str], object]] = {
    "home": _home,
    "database_url": _database_address,
    "lake_url": _lake_address,
    "engine_url": _engine_address,
    "host": str.strip,
    "port": _whole_number(0, 65535),
    "workers": _whole_number(1, 64),
    "pseudonym_key": _secret,
    "seal_interval": _seconds,
    "inbox_limit": _whole_number(1, 10**12),
    "max_event_age_days": _whole_number(1, 36500),
    "retention_days": _whole_number(1, 36500),
    "snapshot_hours": _whole_number(1, 8760),
    "engine_memory": _memory,
}
