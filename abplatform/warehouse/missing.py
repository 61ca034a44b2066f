"""Files of the lake that should be there and are not: damage, or storage that is not mounted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from abplatform.errors import Unavailable


@contextmanager
def files_are_there() -> Iterator[None]:
    """Speak of a lake that lacks files as of one that does not answer, for who can do nothing about it.

    Raises:
        Unavailable: instead of FileNotFoundError.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise Unavailable(
            "files of the lake are missing; if its storage is mounted, abplatform lake verify names them"
        ) from error
