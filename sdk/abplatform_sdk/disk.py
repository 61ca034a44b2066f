"""The last good snapshot on disk, for a start while the server is down."""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path

LARGEST = 16 * 1024 * 1024


class DiskCopy:
    """One file per server and key, readable by its owner only, replaced as a whole.

    The first line authenticates the rest under the API key: a copy that is cut, changed or planted by somebody
    else is not used. The file's name tells neither the server nor the key.

    Args:
        directory: made when first needed, mode 0700.
        base_url: of the server.
        api_key: of the client.
    """

    def __init__(self, directory: str | os.PathLike[str], *, base_url: str, api_key: str) -> None:
        self._secret = api_key.encode()
        name = hashlib.sha256(f"{base_url}\0{api_key}".encode()).hexdigest()[:32]
        self._path = Path(directory, f"snapshot-{name}.json")

    def read(self) -> bytes | None:
        """The snapshot, or None if there is no copy.

        Raises:
            OSError: the file cannot be read.
            ValueError: the copy is damaged.
        """
        try:
            with self._path.open("rb") as file:
                content = file.read(LARGEST + 100)
        except FileNotFoundError:
            return None
        seal, _, document = content.partition(b"\n")
        if not hmac.compare_digest(seal, self._seal(document)):
            raise ValueError("the disk copy is damaged")
        return document

    def write(self, document: bytes) -> None:
        """Replace the copy.

        Raises:
            OSError: the file cannot be written; the former copy is untouched.
        """
        import tempfile

        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=".snapshot-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(self._seal(document) + b"\n" + document)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self._path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def _seal(self, document: bytes) -> bytes:
        return hmac.new(self._secret, document, "sha256").hexdigest().encode()
