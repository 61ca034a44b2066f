"""Lists in pages: everything once, whatever is added meanwhile."""

from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest

from abplatform.errors import InvalidInput
from abplatform.storage.metrics import StoredMetric
from abplatform.storage.pages import Position, read_cursor, write_cursor
from abplatform.storage.session import UnitOfWork, Work
from tests.builders import NOW, a_draft, a_metric, later


def add(work: Work, *names: str, **state: object) -> None:
    for name in names:
        work.experiments.add("default", a_draft(name, **state))


def walk(work: Work, limit: int) -> list[list[str]]:
    pages, cursor = [], None
    while True:
        page = work.experiments.page("default", limit=limit, cursor=cursor)
        pages.append([experiment.key for experiment in page.items])
        cursor = page.next_cursor
        if cursor is None:
            return pages


def test_pages_are_newest_first_and_then_by_key(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        add(work, "a", "b", "c")
        add(work, "old", created_at=later(microseconds=-1))
        add(work, "new", created_at=later(microseconds=1))
        assert walk(work, 2) == [["new", "c"], ["b", "a"], ["old"]]
        assert walk(work, 5) == [["new", "c", "b", "a", "old"]]
        assert walk(work, 1) == [["new"], ["c"], ["b"], ["a"], ["old"]]


def test_an_empty_list_is_one_empty_page(uow: UnitOfWork) -> None:
    with uow.reading() as work:
        page = work.metrics.page("default", limit=10, cursor=None)
    assert (page.items, page.next_cursor) == ((), None)


def test_additions_and_deletions_neither_repeat_nor_hide_what_stays(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        add(work, "a", "b", "c", "d")
        first = work.experiments.page("default", limit=2, cursor=None)
        add(work, "e", created_at=later(seconds=1))
        add(work, "z")
        work.experiments.remove("default", "c", expected_revision=1)  # where the cursor stands
        second = work.experiments.page("default", limit=2, cursor=first.next_cursor)
    assert [each.key for each in (*first.items, *second.items)] == ["d", "c", "b", "a"]


def test_pages_can_hold_one_status(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        add(work, "a", "c")
        add(work, "b", "d", status="running", started_at=NOW)
        page = work.experiments.page("default", limit=1, cursor=None, status="running")
        rest = work.experiments.page("default", limit=1, cursor=page.next_cursor, status="running")
    assert [each.key for each in (*page.items, *rest.items)] == ["d", "b"]
    assert rest.next_cursor is None


def test_metrics_come_in_pages_too(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        for name in ("a", "b", "c"):
            work.metrics.add("default", StoredMetric(metric=a_metric(name), created_at=NOW))
        first = work.metrics.page("default", limit=2, cursor=None)
        second = work.metrics.page("default", limit=2, cursor=first.next_cursor)
    assert [each.key for each in (*first.items, *second.items)] == ["c", "b", "a"]


def test_cursors_come_back_as_they_were_and_are_safe_in_urls() -> None:
    position = Position(later(days=3), "a-b_9")
    cursor = write_cursor(position)
    assert read_cursor(cursor) == position
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def encoded(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "é",
        "\0",
        "\ud800",
        "===",
        encoded("[]"),
        encoded("null"),
        encoded("[1, 2]"),
        encoded('["2026-11-23T09:00:00", "no-zone"]'),
        encoded('["2026-11-23T09:00:00+00:00", "nul\\u0000"]'),
        encoded('["2026-11-23T09:00:00+00:00", 7]'),
        encoded('["99999-11-23T09:00:00+00:00", "a"]'),
        encoded("[" * 100_000),
        write_cursor(Position(NOW, "a")) + "A",
    ],
)
def test_a_bad_cursor_is_refused_by_name(uow: UnitOfWork, cursor: str) -> None:
    with pytest.raises(InvalidInput) as refusal, uow.reading() as work:
        work.experiments.page("default", limit=10, cursor=cursor)
    assert list(refusal.value.errors) == ["cursor"]


@pytest.mark.parametrize("limit", [0, -1, 1001, 10**30])
def test_a_bad_limit_is_refused_by_name(uow: UnitOfWork, limit: int) -> None:
    with pytest.raises(InvalidInput) as refusal, uow.reading() as work:
        work.experiments.page("default", limit=limit, cursor=None)
    assert list(refusal.value.errors) == ["limit"]
