"""Installing templates, on both databases."""

from __future__ import annotations

import pytest

from abplatform.domain.templates import TEMPLATES, Language, choose_set, choose_templates
from abplatform.errors import AlreadyExists, InvalidInput, NotFound
from abplatform.services import define
from abplatform.services.install import Installed, install_templates
from abplatform.storage.session import UnitOfWork
from tests.builders import NOW, a_metric, later


def install(uow: UnitOfWork, *keys: str, language: Language = "en", prefix: str = "") -> Installed:
    with uow.begin() as work:
        templates = choose_templates(keys)
        return install_templates(work, "default", templates, now=NOW, language=language, prefix=prefix)


def keys_of(uow: UnitOfWork) -> set[str]:
    with uow.reading() as work:
        return {stored.key for stored in work.metrics.all("default")}


def test_a_whole_set_is_installed_and_reads_back_as_it_was_written(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        done = install_templates(work, "default", choose_set("finance-growth"), now=NOW, language="zh", prefix="app-")
    assert (len(done.created), done.unchanged) == (len(TEMPLATES), ())
    with uow.reading() as work:
        for template in TEMPLATES.values():
            stored = work.metrics.get("default", f"app-{template.key}")
            assert stored.metric == template.make_metric("zh", prefix="app-")
            assert (stored.created_at, stored.revision) == (NOW, 1)


def test_installing_again_changes_nothing_in_whichever_language(uow: UnitOfWork) -> None:
    first = install(uow, "registration", "early-overdue")
    again = install(uow, "registration", "early-overdue", "complaint", language="zh")
    assert [each.key for each in first.created] == ["registration", "bad-debt", "early-overdue"]
    assert [each.key for each in again.created] == ["complaint"]
    assert again.unchanged == first.created, "English words and all"


def test_a_metric_that_was_renamed_is_still_the_same(uow: UnitOfWork) -> None:
    install(uow, "registration")
    with uow.begin() as work:
        renamed = define.edit_metric(work, "default", "registration", {"name": "Sign-ups"}, revision=1)
    assert install(uow, "registration").unchanged == (renamed,)


def test_another_metric_of_the_key_is_named_and_nothing_is_made(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        define.create_metric(work, "default", a_metric("complaint"), now=later(days=1))
    with pytest.raises(AlreadyExists, match="counts something else under 'complaint'; nothing was made: install under"):
        install(uow, "registration", "complaint")
    assert keys_of(uow) == {"purchase", "complaint"}
    assert [each.key for each in install(uow, "complaint", prefix="app-").created] == ["app-complaint"]


def test_a_prefix_that_makes_no_keys_and_an_unknown_project_are_refused(uow: UnitOfWork) -> None:
    with pytest.raises(InvalidInput, match="prefix: makes no key"):
        install(uow, "registration", prefix="App ")
    with pytest.raises(NotFound, match="elsewhere"), uow.begin() as work:
        install_templates(work, "elsewhere", choose_set("finance-growth"), now=NOW)
