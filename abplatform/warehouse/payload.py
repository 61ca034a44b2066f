"""How the events of one request lie in the inbox: an Arrow stream, compressed by zstd.

Rows from before were lists of facts in MessagePack. They are still read: an update finds them in the inbox.
"""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import pyarrow as pa
import zstandard

from abplatform.domain.events import ConversionFact, EventKind, ExposureFact
from abplatform.warehouse.layout import facts_to_arrow


class _OfThread(threading.local):
    """What each thread has for itself: making it costs as much as (de)compressing a hundred events."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=1)
        self.decompressor = zstandard.ZstdDecompressor()


_of_thread = _OfThread()

HEAD_BYTES = 18
"""So much of a payload has zstd's header, at most."""

_ARROW_STREAM = b"\xff\xff\xff\xff"
_MESSAGE_PACK: dict[str, msgspec.msgpack.Decoder[Any]] = {
    "exposure": msgspec.msgpack.Decoder(list[ExposureFact]),
    "conversion": msgspec.msgpack.Decoder(list[ConversionFact]),
}


def pack(facts: pa.Table) -> bytes:
    """Facts as they lie in the inbox."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, facts.schema) as writer:
        writer.write_table(facts)
    return _of_thread.compressor.compress(sink.getvalue())


def unpacked_size(head: bytes) -> int:
    """How many bytes `unpack` takes out of a payload, of which the first `HEAD_BYTES` are given."""
    return zstandard.frame_content_size(head)


def unpack(kind: EventKind, payload: bytes) -> pa.Table:
    """The facts that `pack` packed, or an earlier release."""
    content: bytes = _of_thread.decompressor.decompress(payload)
    if content.startswith(_ARROW_STREAM):
        return pa.ipc.open_stream(content).read_all()
    return facts_to_arrow(kind, _MESSAGE_PACK[kind].decode(content))
