"""The audit trail keeps what it is told, in order, in both databases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from abplatform.domain.audit import Actor, AuditEntry, check_actor
from abplatform.errors import Conflict, InvalidInput
from abplatform.services.record import Trail, name_actor, on_record, record_action
from abplatform.storage.session import UnitOfWork
from tests.builders import NOW, later
from tests.databases import PostgresDatabases


def an_entry(**changes: Any) -> AuditEntry:
    defaults: dict[str, Any] = {
        "at": NOW,
        "project": "default",
        "actor": "\u674e\u5a1c",
        "action": "pseudonymise",
        "details": {"rows": 3, "file": "a.csv", "columns": {"unit": ["who"]}},
    }
    return AuditEntry(**defaults | changes)


def test_entries_come_back_in_their_order_as_they_were(uow: UnitOfWork) -> None:
    entries = [an_entry(), an_entry(at=later(days=-1)), an_entry(action="import-events", details={})]
    with uow.begin() as work:
        work.projects.ensure("other", now=NOW)
        numbers = [work.audit.add(entry) for entry in entries]
        work.audit.add(an_entry(project="other"))
    assert numbers == sorted(set(numbers))
    with uow.reading() as work:
        kept = work.audit.all("default")
    assert kept == tuple(
        an_entry(id=number, at=entry.at, action=entry.action, details=entry.details)
        for number, entry in zip(numbers, entries, strict=True)
    )


def test_an_entry_of_a_transaction_that_fails_is_not_there(uow: UnitOfWork) -> None:
    def fail() -> None:
        with uow.begin() as work:
            work.audit.add(an_entry())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with uow.reading() as work:
        assert work.audit.all("default") == ()


def test_an_action_is_on_record_when_it_returns(uow: UnitOfWork) -> None:
    actor = name_actor("Li Na", reason="churn")
    number = record_action(uow, "default", "pseudonymise", {"rows": 3}, actor=actor, now=NOW)
    with uow.reading() as work:
        (entry,) = work.audit.all("default")
    details = {"rows": 3, "os_user": actor.os_user, "reason": "churn"}
    assert entry == an_entry(id=number, actor="Li Na", details=details)


@pytest.fixture
def narrow_role(postgres_databases: PostgresDatabases) -> Iterator[sa.Engine]:
    """A PostgreSQL database as a role that has of the trail only what the documentation gives it."""
    url = postgres_databases.migrated()
    owner = sa.create_engine(url)
    with owner.begin() as connection:
        connection.execute(sa.text("CREATE ROLE platform_user"))
        connection.execute(sa.text("GRANT ALL ON ALL TABLES IN SCHEMA public TO platform_user"))
        connection.execute(sa.text("REVOKE ALL ON audit_entry FROM platform_user"))
        connection.execute(sa.text("GRANT INSERT, SELECT ON audit_entry TO platform_user"))
        connection.execute(sa.text("GRANT USAGE ON SEQUENCE audit_entry_id_seq TO platform_user"))
    with UnitOfWork(owner).begin() as work:
        work.projects.ensure("default", now=NOW)
    yield sa.create_engine(url, connect_args={"options": "-c role=platform_user"}, poolclass=sa.NullPool)
    with owner.begin() as connection:
        connection.execute(sa.text("DROP OWNED BY platform_user"))
        connection.execute(sa.text("DROP ROLE platform_user"))
    owner.dispose()
    postgres_databases.drop(url)


def test_a_role_that_may_only_insert_and_read_keeps_the_trail_and_cannot_change_it(narrow_role: sa.Engine) -> None:
    uow = UnitOfWork(narrow_role)
    trail = Trail(uow=uow, project="default", actor=name_actor("Li Na", reason=None), clock=lambda: NOW)
    with on_record(trail, "pseudonymise", {}) as outcome:
        outcome["rows"] = 3
    for change in ("DELETE FROM audit_entry", "UPDATE audit_entry SET actor = 'x'", "TRUNCATE audit_entry"):
        with pytest.raises(sa.exc.ProgrammingError, match="permission denied"), narrow_role.begin() as connection:
            connection.execute(sa.text(change))
    with uow.reading() as work:
        assert [entry.action for entry in work.audit.all("default")] == ["pseudonymise", "pseudonymise-done"]


def test_what_fails_while_the_database_is_gone_is_told_all_the_same(uow: UnitOfWork, database: sa.Engine) -> None:
    trail = Trail(uow=uow, project="default", actor=name_actor("Li Na", reason=None), clock=lambda: NOW)

    def lose_the_table() -> None:
        with on_record(trail, "import", {}):
            with database.begin() as connection:
                connection.execute(sa.text("ALTER TABLE audit_entry RENAME TO gone"))
            raise Conflict("the file changed")

    with pytest.raises(Conflict, match="the file changed"):
        lose_the_table()
    with database.begin() as connection:
        connection.execute(sa.text("ALTER TABLE gone RENAME TO audit_entry"))
    with uow.reading() as work:
        assert [entry.action for entry in work.audit.all("default")] == ["import"]


def test_whoever_gives_no_name_has_that_of_the_operating_system() -> None:
    actor = name_actor(None, reason=None)
    assert actor.name == actor.os_user != ""


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"name": ""}, "--actor"),
        ({"name": "x" * 201}, "--actor"),
        ({"name": "a\u202eb"}, "--actor"),
        ({"reason": "\t"}, "--reason"),
    ],
)
def test_what_a_trail_could_not_show_is_refused(changes: dict[str, str], option: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_actor(Actor(**{"os_user": "root", "name": "Li Na", "reason": "churn"} | changes))
    assert list(refused.value.errors) == [option]
