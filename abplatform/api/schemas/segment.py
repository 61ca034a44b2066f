"""Segments on the wire: ids of units come in and never go out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from marshmallow import post_load

from abplatform.api.schemas.fields import Document, Members, Strict, Text, WholeNumber, choice, key_field, time_field
from abplatform.domain.events import LONGEST_ID
from abplatform.domain.segment import LONGEST_VALUE, MOST_MEMBERS, SEGMENT_KINDS, SegmentRequest
from abplatform.storage.segments import SegmentOutline, StoredSegment

_VALUES = {
    "type": "array",
    "items": {"type": ["string", "number", "boolean"], "maxLength": LONGEST_VALUE},
    "maxItems": MOST_MEMBERS,
    "description": "members of the kind `values`",
}
_UNIT_IDS = {
    "type": "array",
    "items": {"type": "string", "minLength": 1, "maxLength": LONGEST_ID},
    "maxItems": MOST_MEMBERS,
    "writeOnly": True,
    "description": "members of the kind `units`; only salted digests of them are kept",
}


class SegmentChanges(Strict):
    """The fields of a segment that an edit may name; members are replaced whole, the kind stays."""

    name = Text(required=True)
    kind = Text(required=True, metadata=choice(SEGMENT_KINDS))
    values = Members(metadata=_VALUES)
    unit_ids = Members(metadata=_UNIT_IDS)


class SegmentSchema(SegmentChanges):
    """What the author of a segment sends: `values` or `unit_ids`, as its kind says."""

    key = key_field()

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> SegmentRequest:
        return SegmentRequest(**data)


class SegmentDocument(Document):
    """A segment without its members."""

    key = Text()
    name = Text()
    kind = Text(metadata=choice(SEGMENT_KINDS))
    count = WholeNumber(metadata={"description": "distinct members"})
    revision = WholeNumber(metadata={"description": "grows with every change"})
    created_at = time_field("when it was made")


class WholeSegmentDocument(SegmentDocument):
    """A segment as it stands; of units their count only."""

    values = Members(metadata=_VALUES)


def outline_document(outline: SegmentOutline) -> dict[str, Any]:
    """The document of a segment in a list."""
    document: dict[str, Any] = msgspec.to_builtins(outline)
    return document


def segment_document(stored: StoredSegment) -> dict[str, Any]:
    """The document of a segment."""
    segment = stored.segment
    document: dict[str, Any] = {"key": segment.key, "name": segment.name, "kind": segment.kind, "count": segment.count}
    if segment.kind == "values":
        document["values"] = list(segment.values)
    return document | {"revision": stored.revision, "created_at": msgspec.to_builtins(stored.created_at)}
