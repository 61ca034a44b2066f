"""The bytes of a request body: read once, bounded before and after unpacking.

Nothing else in this room touches the request's stream. A body that ends early or is chunked wrongly is a 400 here,
where the web framework would make it a server error.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import zstandard
from flask import Request
from werkzeug.exceptions import HTTPException

from abplatform.api.silence import VISIT
from abplatform.errors import TooLarge, Unreadable, UnsupportedMedia

LARGEST_BODY = 1_000_000
LARGEST_EVENTS_BODY = 5_000_000
# 50,000 ids of 96 characters; as UUIDs they are 2 MB.
LARGEST_LIST_BODY = 5_000_000
PIECE = 65_536
LONGEST_UPLOAD_SECONDS = 30
# One byte of zstd can stand for a block of 128 KiB: small steps keep what a single one unpacks to small.
_ZSTD_STEP = 256
_ZSTD_LARGEST_WINDOW = 8 * 1024 * 1024


def read_body(request: Request, *, most: int = LARGEST_BODY) -> bytes:
    """Read and unpack the body of a request.

    Args:
        request: its stream must not have been touched.
        most: largest number of bytes, both as sent and unpacked.

    Raises:
        TooLarge: if either passes ``most``.
        UnsupportedMedia: for a content encoding other than gzip, zstd and identity.
        Unreadable: if the body ends early, or is not packed as it says.
    """
    unpack = _unpacker(request)
    if request.content_length is not None and request.content_length > most:
        raise _too_large(most)
    return _join(unpack(_join(_pieces(request), most)), most)


def has_body(request: Request) -> bool:
    """Whether the request announces a body."""
    return bool(request.content_length) or "Transfer-Encoding" in request.headers


def read_pieces(environ: Mapping[str, Any], stream: Any, length: int | None = None) -> Iterator[bytes]:
    """The body of a request as it arrives, up to its end.

    Args:
        environ: of the request; silence on its connection ends the reading, see `abplatform.api.silence`.
        stream: has a method ``read``.
        length: read no further.

    Raises:
        Unreadable: it takes too long, or does not come as HTTP requires.
    """
    left, deadline = PIECE if length is None else length, time.monotonic() + LONGEST_UPLOAD_SECONDS
    with environ[VISIT].reading():
        while left and (piece := _read_piece(stream, min(PIECE, left))):
            left -= 0 if length is None else len(piece)
            yield piece
            if time.monotonic() >= deadline:
                raise Unreadable(f"the body took longer than {LONGEST_UPLOAD_SECONDS} seconds to arrive")


def _read_piece(stream: Any, most: int) -> bytes:
    try:
        piece: bytes = stream.read(most)
    except (HTTPException, OSError, ValueError) as error:
        raise Unreadable("the body ended early or is not chunked as HTTP requires") from error
    return piece


def _pieces(request: Request) -> Iterator[bytes]:
    received = 0
    for piece in read_pieces(request.environ, request.stream):
        received += len(piece)
        yield piece
    if request.content_length is not None and received < request.content_length:
        raise Unreadable("the body is shorter than its Content-Length")


def _join(pieces: Iterator[bytes], most: int) -> bytes:
    body = bytearray()
    for piece in pieces:
        body += piece
        if len(body) > most:
            raise _too_large(most)
    return bytes(body)


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"the body must have at most {most} bytes, as sent and unpacked")


def _unpacker(request: Request) -> Callable[[bytes], Iterator[bytes]]:
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in _UNPACKERS:
        raise UnsupportedMedia("Content-Encoding must be gzip, zstd or identity")
    return _UNPACKERS[encoding]


def _as_it_is(body: bytes) -> Iterator[bytes]:
    yield body


def _gunzip(body: bytes) -> Iterator[bytes]:
    stream = zlib.decompressobj(wbits=31)
    rest = body
    try:
        while rest and not stream.eof:
            yield stream.decompress(rest, PIECE)
            rest = stream.unconsumed_tail
        yield stream.flush()
    except zlib.error as error:
        raise Unreadable("the body is not valid gzip") from error
    _check_end(ended=stream.eof, left=stream.unused_data, name="gzip")


def _unzstd(body: bytes) -> Iterator[bytes]:
    stream = zstandard.ZstdDecompressor(max_window_size=_ZSTD_LARGEST_WINDOW).decompressobj()
    position = 0
    try:
        while position < len(body) and not stream.eof:
            yield stream.decompress(body[position : position + _ZSTD_STEP])
            position += _ZSTD_STEP
    except zstandard.ZstdError as error:
        raise Unreadable("the body is not valid zstd") from error
    _check_end(ended=stream.eof, left=stream.unused_data + body[position:], name="zstd")


def _check_end(*, ended: bool, left: bytes, name: str) -> None:
    if not ended:
        raise Unreadable(f"the {name} body is cut off")
    if left:
        raise Unreadable(f"the {name} body goes on after its end")


_UNPACKERS: dict[str, Callable[[bytes], Iterator[bytes]]] = {
    "": _as_it_is,
    "identity": _as_it_is,
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "zstd": _unzstd,
}
