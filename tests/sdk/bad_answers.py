"""What a server, or something between it and the client, may answer instead of what was asked for."""

from __future__ import annotations

import gzip
import json

from tests.sdk.server import Answer, Handler, body, drip, endless, garbage, half_body, hang, problem, reset
from tests.sdk.snapshots import snapshot

_HEAD = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
_PAGE = b"<html>captive portal</html>"


def raw(content: bytes) -> Answer:
    """These bytes, then the end of the connection."""

    def answer(handler: Handler) -> None:
        handler.wfile.write(content)
        handler.close_connection = True

    return answer


def repeat(first: bytes, again: bytes, pause: float = 0.0) -> Answer:
    """The first bytes, then others again and again, until the server stops or the client goes away."""

    def answer(handler: Handler) -> None:
        handler.wfile.write(first)
        while not handler.server.platform.let_go.wait(pause):
            handler.wfile.write(again)
        handler.close_connection = True

    return answer


def reset_after_head(handler: Handler) -> None:
    """Say that 1000 bytes follow, then break the connection."""
    handler.wfile.write(_HEAD + b"Content-Length: 1000\r\n\r\n")
    reset(handler)


def redirect(status: int) -> Answer:
    """To the same address, so that who follows it never comes to an end."""
    return lambda handler: problem(status, Location=handler.path)(handler)


def _served(**changes: object) -> Answer:
    return body(json.dumps(snapshot(9) | changes).encode())


# As fast as the connection takes it: no read ever times out.
ENDLESS: dict[str, Answer] = {
    "endless body": endless,
    "endless chunks": repeat(_CHUNKED, b"10000\r\n" + b" " * 65_536 + b"\r\n"),
    "endless tiny chunks": repeat(_CHUNKED, b"1\r\n \r\n" * 10_000),
    "endless chunk extensions": repeat(_CHUNKED, b"1;" + b"x" * 60_000 + b"\r\n \r\n"),
    "endless trailers": repeat(_CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-Many: a\r\n" * 10_000),
    "endless 100 Continue": repeat(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
}

# An event is sent again after each of these, and a snapshot stays as it was.
BAD_ANSWERS: dict[str, Answer] = {
    # Statuses.
    "204": body(b"", 204),
    "unasked 206": body(b"{}", 206),
    "300": problem(300),
    "401": problem(401),
    "403": problem(403),
    "404": problem(404),
    "405": problem(405),
    "408": problem(408),
    "429": problem(429, Retry_After="0"),
    "500": problem(500),
    "502 with a page": body(_PAGE, 502),
    "503": problem(503),
    "504 without a body": body(b"", 504),
    "redirect 301 to itself": redirect(301),
    "redirect 302 to itself": redirect(302),
    "redirect 307 to itself": redirect(307),
    "redirect 308 to another scheme": problem(308, Location="ftp://elsewhere.invalid/"),
    "redirect to no address": problem(302, Location="http://[::1"),
    "Retry-After that is no time": problem(503, Retry_After="soon"),
    "negative Retry-After": problem(503, Retry_After="-5"),
    "Retry-After long ago": problem(503, Retry_After="Thu, 01 Jan 1970 00:00:00 GMT"),
    "Retry-After of no calendar": problem(503, Retry_After="Thu, 99 Jan 99999 99:99:99 GMT"),
    # Connections.
    "reset": reset,
    "reset after the head": reset_after_head,
    "closed without a byte": raw(b""),
    "half a head": raw(b"HTTP/1.1 200 O"),
    "half a body": half_body,
    "hang": hang,
    "dripping header": drip,
    "dripping body": repeat(_HEAD + b"\r\n", b" ", pause=0.02),
    **ENDLESS,
    # What is no HTTP.
    "not HTTP": garbage,
    "HTTP/0.9": raw(_PAGE),
    "HTTP/9.9": raw(b"HTTP/9.9 200 OK\r\n\r\n{}"),
    "status 999": raw(b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n"),
    "status that is no number": raw(b"HTTP/1.1 2xx OK\r\n\r\n"),
    "header without a colon": raw(_HEAD + b"nonsense\r\n\r\n"),
    "header of 70 kB": raw(_HEAD + b"X-Long: " + b"a" * 70_000 + b"\r\n\r\n"),
    "a thousand headers": raw(_HEAD + b"X-Many: a\r\n" * 1000 + b"\r\n"),
    "chunk of no size": raw(_HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"),
    "chunk of negative size": raw(_HEAD + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n{}\r\n0\r\n\r\n"),
    "cut chunk": raw(_HEAD + b"Transfer-Encoding: chunked\r\n\r\nff\r\n{}"),
    "negative Content-Length": raw(_HEAD + b"Content-Length: -7\r\n\r\n{}"),
    "two Content-Lengths": raw(_HEAD + b"Content-Length: 2\r\nContent-Length: 9\r\n\r\n{}"),
    "Content-Length too small": raw(_HEAD + b"Content-Length: 2\r\n\r\n{}" + _PAGE),
    # What is no snapshot and no receipt.
    "page": body(_PAGE),
    "empty": body(b""),
    "broken JSON": body(b'{"schema_version": 1,'),
    "deep JSON": body(b"[" * 100_000),
    "number of 5000 digits": body(b'{"version":' + b"9" * 5000 + b"}"),
    "NaN": body(b'{"schema_version": NaN, "version": Infinity}'),
    "not UTF-8": body(b"\xff\xfe"),
    "null": body(b"null"),
    "list": body(b"[]"),
    "text": body(b'"snapshot"'),
    "wrong types": _served(experiments=[1, 2]),
    "version that is text": _served(version="9"),
    "older version": _served(version=3),
    "later schema": _served(schema_version=99),
    "rule of wrong types": _served(experiments={"rate-display": {"variants": "all"}}),
    "unasked gzip": body(gzip.compress(b"{}"), Content_Encoding="gzip"),
    "gzip bomb": body(gzip.compress(b" " * 50_000_000, 1), Content_Encoding="gzip"),
    "unknown encoding": body(b"{}", Content_Encoding="zstd, br, nonsense"),
}
