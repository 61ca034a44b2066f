"""API keys: shown once, stored hashed, revoked at once."""

from __future__ import annotations

import hashlib

import pytest
import sqlalchemy as sa

from abplatform.database import reading
from abplatform.domain.access import KEY_ROLES, KeyRole, Project
from abplatform.errors import InvalidInput, NotFound, Unauthenticated
from abplatform.services import access
from abplatform.storage import schema
from abplatform.storage.session import UnitOfWork
from tests.builders import NOW, later


def create(uow: UnitOfWork, role: KeyRole = "sdk", name: str = "Shop") -> tuple[str, str]:
    """A new key's id and secret."""
    with uow.begin() as work:
        key, secret = access.create_key(work, "default", role, name=name, now=NOW)
    return key.id, secret


@pytest.mark.parametrize("role", KEY_ROLES)
def test_a_secret_opens_what_its_key_says(uow: UnitOfWork, role: KeyRole) -> None:
    key_id, secret = create(uow, role)
    assert secret.startswith(f"abp_{role}_{key_id}_")
    with uow.reading() as work:
        key = access.authenticate(work, secret, now=later(days=1))
    assert (key.id, key.role, key.project, key.name, key.created_at) == (key_id, role, "default", "Shop", NOW)


def test_secrets_differ_and_are_long(uow: UnitOfWork) -> None:
    secrets = [create(uow)[1] for _ in range(3)]
    parts = {secret.split("_", 3)[3] for secret in secrets}
    assert len(parts) == 3
    # 256 random bits in base64.
    assert {len(part) for part in parts} == {43}


def test_the_database_holds_the_hash_and_nothing_of_the_secret(uow: UnitOfWork, database: sa.Engine) -> None:
    """P-6: the random part is nowhere at rest."""
    _, secret = create(uow)
    with reading(database) as connection:
        row = connection.execute(sa.select(schema.api_key)).one()
    assert row.secret_hash == hashlib.sha256(secret.encode()).hexdigest()
    assert secret.split("_", 3)[3] not in repr(row)


def wrong_secrets(secret: str) -> dict[str, str]:
    """What somebody might send instead of the secret."""
    last = "A" if secret[-1] != "A" else "B"
    return {
        "empty": "",
        "word": "admin",
        "other random part": secret[:-1] + last,
        "other role": secret.replace("abp_sdk_", "abp_admin_"),
        "other id": secret.replace(secret.split("_")[2], "0" * 16),
        "id only": "_".join(secret.split("_")[:3]),
        "cut": secret[:-1],
        "longer": secret + "A",
        "newline": secret + "\n",
        "space": " " + secret,
        "upper case": secret.upper(),
        "nul": secret[:-1] + "\0",
        "surrogate": secret[:-1] + "\ud800",
        "full width": secret[:-1] + "\uff21",
        "long": "abp_sdk_" + "a" * 1_000_000,
        "hash": hashlib.sha256(secret.encode()).hexdigest(),
    }


def test_anything_else_is_refused_alike(uow: UnitOfWork) -> None:
    _, secret = create(uow)
    answers = {}
    for trick, wrong in wrong_secrets(secret).items():
        with pytest.raises(Unauthenticated) as refusal, uow.reading() as work:
            access.authenticate(work, wrong, now=NOW)
        answers[trick] = str(refusal.value)
    assert set(answers.values()) == {"this API key is not known or not in force"}


def test_a_revoked_key_stops_at_once_and_for_ever(uow: UnitOfWork) -> None:
    key_id, secret = create(uow)
    _, other = create(uow)
    with uow.begin() as work:
        revoked = access.revoke_key(work, "default", key_id, now=later(hours=1))
        assert access.revoke_key(work, "default", key_id, now=later(hours=2)) == revoked
    assert revoked.revoked_at == later(hours=1)
    with uow.reading() as work:
        for moment in (later(hours=1), later(days=1000)):
            with pytest.raises(Unauthenticated):
                access.authenticate(work, secret, now=moment)
        access.authenticate(work, other, now=later(hours=1))


def test_keys_are_listed_without_secrets(uow: UnitOfWork) -> None:
    first, _ = create(uow, "sdk", "First")
    second, _ = create(uow, "analyst", "Second")
    with uow.begin() as work:
        access.revoke_key(work, "default", first, now=NOW)
        keys = access.list_keys(work, "default")
    assert {(key.id, key.name, key.revoked_at) for key in keys} == {(first, "First", NOW), (second, "Second", None)}


def test_a_key_of_another_project_is_not_found(uow: UnitOfWork) -> None:
    key_id, secret = create(uow)
    with uow.begin() as work:
        work.projects.add(Project(key="other", name="Other", created_at=NOW))
        assert access.list_keys(work, "other") == ()
        with pytest.raises(NotFound):
            access.revoke_key(work, "other", key_id, now=NOW)
        with pytest.raises(NotFound):
            access.revoke_key(work, "default", "no such id", now=NOW)
        assert access.authenticate(work, secret, now=NOW).project == "default"


@pytest.mark.parametrize(
    ("role", "name", "field"),
    [("root", "x", "role"), ("sdk", "", "name"), ("sdk", "x" * 201, "name"), ("sdk", "nul\0", "name")],
)
def test_wrong_keys_are_refused_by_field(uow: UnitOfWork, role: KeyRole, name: str, field: str) -> None:
    with pytest.raises(InvalidInput) as refusal, uow.begin() as work:
        access.create_key(work, "default", role, name=name, now=NOW)
    assert list(refusal.value.errors) == [field]
    with pytest.raises(NotFound, match="elsewhere"), uow.begin() as work:
        access.create_key(work, "elsewhere", "sdk", name="x", now=NOW)


def test_the_first_admin_key_is_made_once(uow: UnitOfWork) -> None:
    create(uow, "experimenter")
    with uow.begin() as work:
        secret = access.ensure_admin_key(work, "default", now=NOW)
        assert secret is not None
        key = access.authenticate(work, secret, now=NOW)
        assert key.role == "admin"
        assert access.ensure_admin_key(work, "default", now=NOW) is None
        # Whoever revoked it did not ask for another one at the next start.
        access.revoke_key(work, "default", key.id, now=NOW)
        assert access.ensure_admin_key(work, "default", now=later(days=1)) is None
