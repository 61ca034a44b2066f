"""Guard the secret behind unit pseudonyms: one for the whole life of an installation, and no eyes but the owner's."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from abplatform.errors import StartRefused
from abplatform.settings import Settings
from abplatform.storage.session import Work
from abplatform.warehouse.durable_io import make_folder, sync_folder

_KEY_CHECK = "pseudonym_key_check"


def is_settled(work: Work, key: bytes) -> bool:
    """Whether this is the key that the database began with."""
    return work.installation.find(_KEY_CHECK) == _trace(key)


def settle_pseudonym_key(work: Work, key: bytes) -> None:
    """Keep a trace of the key at the first start; later refuse another one: new events would not join old ones.

    Raises:
        StartRefused: if it is another one.
    """
    if work.installation.settle(_KEY_CHECK, _trace(key)) != _trace(key):
        raise StartRefused(
            "the pseudonym key is not the one that this database began with, so new events would not join old ones; "
            "restore the file pseudonym.key or the variable ABPLATFORM_PSEUDONYM_KEY"
        )


def read_pseudonym_key(settings: Settings) -> bytes:
    """The secret for unit pseudonyms: the setting, else the file in ``home``, made at the first start.

    Raises:
        StartRefused: if others than the owner may read the file, or it is cut short.
    """
    if settings.pseudonym_key:
        return settings.pseudonym_key.encode()
    path = settings.home.absolute() / "pseudonym.key"
    _make_key_file(path)
    if path.stat().st_mode & 0o077:
        raise StartRefused(f"{path} may be read by others than its owner; run: chmod 600 {path}")
    key = path.read_bytes().strip()
    if len(key) < 32:
        raise StartRefused(f"{path} holds no key of at least 32 characters; restore it from a backup")
    return key


def _make_key_file(path: Path) -> None:
    """Write a new key unless there is one; of two processes at once, one wins, and nobody reads half a key."""
    if path.exists():
        return
    make_folder(path.parent)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32) + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    sync_folder(path.parent)  # the name, too, has to survive a power cut


def _trace(key: bytes) -> str:
    return hmac.digest(key, b"abplatform: which pseudonym key is this?", hashlib.sha256).hex()
