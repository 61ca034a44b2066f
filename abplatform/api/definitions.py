"""What the views of all definitions do alike: lists, ETags, ``If-Match``, doing things once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from flask import Response, jsonify, request, url_for

from abplatform.api.conditional import check_if_match, revision_tag, tagged
from abplatform.api.context import platform, project
from abplatform.api.idempotency import Answer, answer_once
from abplatform.storage.definitions import Definitions, Stored
from abplatform.storage.session import Work

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf(Generic[Stored]):
    """The definitions of one kind, as HTTP shows them.

    Attributes:
        endpoint: of the view of one definition.
        repository: where they are kept.
        documents: how some of them are shown.
        state: a short text for what a document shows beside the definition itself, since an ETag stands for all that
            is shown; None where that is nothing.
    """

    endpoint: str
    repository: Callable[[Work], Definitions[Stored]]
    documents: Callable[[Work, Sequence[Stored]], list[Document]]
    state: Callable[[Document], str] | None = None

    def page(self, query: Mapping[str, Any]) -> Document:
        """A page of the list."""
        with platform().uow.reading() as work:
            page = self.repository(work).page(project(), **query)
            items = self.documents(work, page.items)
        return {"items": items, "next_cursor": page.next_cursor}

    def create(self, make: Callable[[Work], Stored]) -> Response:
        """Make one, once per ``Idempotency-Key``."""

        def create(work: Work) -> Answer:
            stored = make(work)
            return self._answer(work, stored, {"Location": url_for(self.endpoint, key=stored.key)}, status=201)

        return answer_once(create)

    def read(self, key: str, find: Callable[[Work], Stored] | None = None) -> Response:
        """Show one.

        Args:
            key: of the definition.
            find: finds another state of it than the present one.
        """
        with platform().uow.reading() as work:
            stored = self.repository(work).get(project(), key) if find is None else find(work)
            return self._shown(work, stored)

    def edit(self, key: str, change: Callable[[Work, int], Stored]) -> Response:
        """Change one from the version that ``If-Match`` names.

        Args:
            key: of the definition.
            change: gets the revision that the caller has read.
        """
        with platform().uow.begin() as work:
            return self._shown(work, change(work, self._expected(work, key)))

    def take_step(self, key: str, step: Callable[[Work, int | None], Stored]) -> Response:
        """Change one, from the version that ``If-Match`` names if it is sent; once per ``Idempotency-Key``."""

        def take(work: Work) -> Answer:
            revision = self._expected(work, key) if "If-Match" in request.headers else None
            return self._answer(work, step(work, revision), {"Cache-Control": "private, no-cache"}, status=200)

        return answer_once(take)

    def make_next(self, key: str, make: Callable[[Work, int], Stored], locate: Callable[[Stored], str]) -> Response:
        """Make what comes after one, from the version that ``If-Match`` names; once per ``Idempotency-Key``.

        Args:
            key: of the definition.
            make: gets the revision that the caller has read.
            locate: the address of what was made.
        """

        def create(work: Work) -> Answer:
            stored = make(work, self._expected(work, key))
            return self._answer(work, stored, {"Location": locate(stored)}, status=201)

        return answer_once(create)

    def delete(self, key: str, remove: Callable[[Work, int], None]) -> None:
        """Delete one in the version that ``If-Match`` names."""
        with platform().uow.begin() as work:
            remove(work, self._expected(work, key))

    def _expected(self, work: Work, key: str) -> int:
        """The revision of what is there, if it is the version that the caller has read."""
        stored = self.repository(work).get(project(), key)
        check_if_match(self._tag(work, stored))
        return stored.revision

    def _answer(self, work: Work, stored: Stored, headers: dict[str, str], *, status: int) -> Answer:
        headers = {"ETag": f'"{self._tag(work, stored)}"', **headers}
        return Answer(document=self._document(work, stored), headers=headers, status=status)

    def _shown(self, work: Work, stored: Stored) -> Response:
        return tagged(jsonify(self._document(work, stored)), self._tag(work, stored))

    def _document(self, work: Work, stored: Stored) -> Document:
        return self.documents(work, [stored])[0]

    def _tag(self, work: Work, stored: Stored) -> str:
        tag = revision_tag(stored.revision, stored.created_at)
        return tag if self.state is None else f"{tag}-{self.state(self._document(work, stored))}"
