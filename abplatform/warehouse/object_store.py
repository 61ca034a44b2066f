"""Object storage that speaks S3: one client per process, for PyIceberg and for DuckDB.

Keys, region and endpoint come from where every tool of AWS takes them: the variables ``AWS_*``, the files of
``~/.aws``, or the role of the machine. PyArrow reads them itself, but for the endpoint and the region.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

from fsspec import AbstractFileSystem  # type: ignore[import-untyped]
from pyarrow import fs

# Under this name DuckDB and Spark both know object storage: "s3" makes Ibis look for an extension of DuckDB that it
# would have to fetch from the internet.
SCHEME = "s3a"


def read_path(location: str) -> str:
    """The path of a file of the lake as readers take it: a local path, or an ``s3a://`` address."""
    scheme, _, rest = location.partition("://")
    return rest if scheme == "file" else f"{SCHEME}://{rest}"


def open_object_store() -> fs.FileSystem:
    """The client of this process; a process that was forked makes its own."""
    return _open(os.getpid())


@cache
def _open(_process: int) -> fs.FileSystem:
    return fs.S3FileSystem(**_options(os.environ))


def _options(environment: Mapping[str, str]) -> dict[str, Any]:
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    # A small file goes in one request, not in three.
    options: dict[str, Any] = {"allow_delayed_open": True}
    if endpoint:
        # Storage of one's own has no regions, but its requests are signed for one.
        options |= {"endpoint_override": endpoint, "region": region or "us-east-1"}
    elif region:
        options |= {"region": region}
    return options


class ObjectStore(AbstractFileSystem):
    """The files of a lake in object storage for one DuckDB; it reaches out when it is first asked for one.

    DuckDB's own extension for it would have to be fetched from the internet. Files of a lake never change.
    """

    protocol = SCHEME
    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self._infos: dict[str, fs.FileInfo] = {}

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path.removeprefix(f"{SCHEME}://")

    def glob(self, path: str, **_: Any) -> list[str]:
        """The path itself: names of the lake's files hold no patterns."""
        return [path]

    def exists(self, path: str, **_: Any) -> bool:
        """Whether there is such a file."""
        return bool(self._info(path).type == fs.FileType.File)

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Name, size in bytes, and kind."""
        found = self._info(path)
        if found.type != fs.FileType.File:
            raise FileNotFoundError(f"{path} is missing from the object storage")
        return {"name": path, "size": found.size, "type": "file"}

    def modified(self, path: str) -> datetime:
        """When the file was written."""
        written: datetime = self._info(path).mtime
        return written

    def _open(self, path: str, mode: str = "rb", **_: Any) -> Any:
        if mode != "rb":
            raise ValueError("object storage is only read through this")
        return open_object_store().open_input_file(self._strip_protocol(path))

    def _info(self, path: str) -> fs.FileInfo:
        key = self._strip_protocol(path)
        if key not in self._infos:
            self._infos[key] = open_object_store().get_file_info(key)
        return self._infos[key]
