"""Make, check and revoke API keys.

A secret is ``abp_<role>_<id>_<random>`` and is shown once: the database has only its SHA-256. (A slow password
hash would add nothing: the random part has 256 bits.)
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from datetime import datetime

from abplatform.domain.access import KEY_ROLES, ApiKey, KeyRole
from abplatform.domain.checks import Faults, printable
from abplatform.errors import NotFound, Unauthenticated
from abplatform.storage.keys import StoredKey
from abplatform.storage.session import Work

SECRET = re.compile(rf"abp_(?:{'|'.join(KEY_ROLES)})_([0-9a-f]{{16}})_[A-Za-z0-9_-]{{43}}")
FIRST_KEY_NAME = "made at the first start"


def create_key(work: Work, project: str, role: KeyRole, *, name: str, now: datetime) -> tuple[ApiKey, str]:
    """Make a key; its secret is given back here and never again.

    Raises:
        InvalidInput: naming ``role`` or ``name``.
        NotFound: there is no such project.
    """
    faults = Faults()
    faults.check(role in KEY_ROLES, "role", f"must be one of {', '.join(KEY_ROLES)}")
    if faults.text(name, "name", most=200, least=1):
        faults.check(printable(name), "name", "must hold printable characters only")
    faults.raise_any()
    work.projects.get(project)
    key = ApiKey(id=secrets.token_hex(8), project=project, role=role, name=name, created_at=now)
    secret = f"abp_{role}_{key.id}_{secrets.token_urlsafe(32)}"
    work.keys.add(StoredKey(key=key, secret_hash=hash_secret(secret)))
    return key, secret


def authenticate(work: Work, secret: str, *, now: datetime) -> ApiKey:
    """The key whose secret this is, if it is in force.

    The answer is the same, and as quick, for a secret that is unknown, wrong or revoked.

    Raises:
        Unauthenticated: it is none of ours.
    """
    form = SECRET.fullmatch(secret)
    stored = work.keys.find(form[1]) if form else None
    known_hash = stored.secret_hash if stored else hash_secret("")
    is_right = hmac.compare_digest(known_hash, hash_secret(secret) if form else "")
    if stored is None or not is_right or not stored.key.in_force(now):
        raise Unauthenticated("this API key is not known or not in force")
    return stored.key


def list_keys(work: Work, project: str) -> tuple[ApiKey, ...]:
    """All keys of a project, revoked ones included, oldest first."""
    return work.keys.all(project)


def revoke_key(work: Work, project: str, key_id: str, *, now: datetime) -> ApiKey:
    """Take a key out of force at once and for ever; once revoked, the first time stays.

    Raises:
        NotFound: the project has no such key.
    """
    if work.keys.get(key_id).key.project != project:
        raise NotFound(f"there is no key {key_id!r}")
    work.keys.revoke(key_id, now=now)
    return work.keys.get(key_id).key


def ensure_admin_key(work: Work, project: str, *, now: datetime) -> str | None:
    """Make the first admin key of a project and give its secret; None if it ever had one.

    Several processes may ask at once: one gets a secret.

    Raises:
        NotFound: there is no such project.
    """
    work.projects.lock(project)
    if work.keys.all(project, role="admin"):
        return None
    _, secret = create_key(work, project, "admin", name=FIRST_KEY_NAME, now=now)
    return secret


def hash_secret(secret: str) -> str:
    """SHA-256 of a secret in hexadecimal digits: all that is kept of it."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
