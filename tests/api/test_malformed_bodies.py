"""Bodies that are not what they claim to be: a problem that says so, quickly, and nothing stored (F-1..F-9)."""

from __future__ import annotations

import gzip
import json
import resource
import time
import zlib
from collections.abc import Callable

import pytest
import zstandard

from tests.api.conftest import Service
from tests.api.documents import POSTED, Body, conversion_body, exposure_body, metric_body
from tests.api.problems import refusal, refused_fields

Bytes = Callable[[bytes], bytes]


def inside(text: str) -> Bytes:
    """A valid body with one more member, written as it stands."""
    return lambda valid: valid.rstrip()[:-1] + b", " + text.encode("utf-8", "surrogatepass") + b"}"


def always(data: bytes) -> Bytes:
    return lambda _: data


UNREADABLE: dict[str, Bytes] = {
    "empty": always(b""),
    "blank": always(b" \n\t "),
    "one brace": always(b"{"),
    "one quote": always(b'"'),
    "cut off": lambda valid: valid[:-1],
    "cut in half": lambda valid: valid[: len(valid) // 2],
    "two documents": lambda valid: valid + valid,
    "text after": lambda valid: valid + b"x",
    "trailing comma": lambda valid: valid[:-1] + b",}",
    "comment": lambda valid: b"/* hi */" + valid,
    "single quotes": lambda valid: valid.replace(b'"', b"'"),
    "bare words": always(b"{key: value}"),
    "python": always(b"{'a': None, 'b': True}"),
    "words": always(b"hello"),
    "form": always(b"key=value&name=x"),
    "xml": always(b"<?xml version='1.0'?><experiment/>"),
    "xxe": always(b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>'),
    "yaml": always(b"key: value\n- a"),
    "nan": inside('"x": NaN'),
    "infinity": inside('"x": Infinity'),
    "minus infinity": inside('"x": -Infinity'),
    "number too large": inside('"x": 1e999'),
    "number too small": inside('"x": -1e999'),
    "5000 digits": inside('"x": ' + "1" * 5000),
    "5000 digits behind the point": inside('"x": 0.' + "1" * 5000),
    "hexadecimal": inside('"x": 0xFF'),
    "octal": inside('"x": 017'),
    "plus": inside('"x": +1'),
    "point first": inside('"x": .5'),
    "point last": inside('"x": 5.'),
    "true in capitals": inside('"x": True'),
    "undefined": inside('"x": undefined'),
    "duplicate key": inside('"key": "a", "key": "b"'),
    "duplicate key, escaped": inside('"name": "a", "n\\u0061me": "b"'),
    "duplicate key, nested": inside('"x": {"a": {"b": 1, "b": 2}}'),
    "nul in a text": inside('"x": "a\\u0000b"'),
    "nul in a key": inside('"a\\u0000b": 1'),
    "nul in a nested text": inside('"x": [{"y": ["\\u0000"]}]'),
    "raw nul": inside('"x": "a\0b"'),
    "nul after": lambda valid: valid + b"\0",
    "raw control character": inside('"x": "a\x1fb"'),
    "raw line break": inside('"x": "a\nb"'),
    "bad escape": inside('"x": "\\q"'),
    "cut escape": inside('"x": "\\u12"'),
    "lone high surrogate": inside('"x": "\\ud800"'),
    "lone low surrogate": inside('"x": "\\udc00"'),
    "surrogates the wrong way round": inside('"x": "\\udc00\\ud800"'),
    "lone surrogate in a key": inside('"\\uD834": 1'),
    "surrogate in UTF-8": inside('"x": "\ud800"'),
    "invalid UTF-8": lambda valid: valid[:-1] + b', "x": "\xff\xfe"}',
    "overlong UTF-8": lambda valid: valid[:-1] + b', "x": "\xc0\xaf"}',
    "cut UTF-8": lambda valid: valid[:-1] + b', "x": "\xe2\x82"}',
    "latin-1": lambda valid: valid[:-1] + ', "x": "é"}'.encode("latin-1"),
    "byte order mark": lambda valid: b"\xef\xbb\xbf" + valid,
    "UTF-16": lambda valid: valid.decode().encode("utf-16"),
    "UTF-16 without mark": lambda valid: valid.decode().encode("utf-16-le"),
    "UTF-32": lambda valid: valid.decode().encode("utf-32"),
    "100,000 arrays": always(b"[" * 100_000),
    "100,000 closed arrays": always(b"[" * 100_000 + b"]" * 100_000),
    "100,000 objects": always(b'{"a":' * 100_000),
    "100,000 closed objects": always(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "65 levels": inside('"x": ' + "[" * 64 + "]" * 64),
    "gzip without saying so": gzip.compress,
    "zeros": always(b"\0" * 1000),
    "all bytes": always(bytes(range(256))),
}

PACKED: dict[str, tuple[str, Bytes, int]] = {
    "not gzip": ("gzip", lambda valid: valid, 400),
    "cut gzip": ("gzip", lambda valid: gzip.compress(valid)[:-9], 400),
    "gzip without end": ("gzip", lambda valid: gzip.compress(valid)[:-4], 400),
    "gzip with a wrong sum": ("gzip", lambda valid: gzip.compress(valid)[:-8] + b"12345678", 400),
    "gzip and more": ("gzip", lambda valid: gzip.compress(valid) + b"x", 400),
    "gzip of nothing": ("gzip", always(gzip.compress(b"")), 400),
    "deflate": ("deflate", zlib.compress, 415),
    "brotli": ("br", lambda valid: valid, 415),
    "unknown encoding": ("rot13", lambda valid: valid, 415),
    "twice packed": ("gzip, gzip", lambda valid: gzip.compress(gzip.compress(valid)), 415),
    "not zstd": ("zstd", lambda valid: valid, 400),
    "cut zstd": ("zstd", lambda valid: zstandard.compress(valid)[:-3], 400),
    "zstd and more": ("zstd", lambda valid: zstandard.compress(valid) + b"x", 400),
    "gzip called zstd": ("zstd", gzip.compress, 400),
    "gzip bomb, 100 MB": ("gzip", always(gzip.compress(bytes(100_000_000), 6)), 413),
    "zstd bomb, 1 GB": ("zstd", always(zstandard.compress(bytes(1_000_000_000))), 413),
}

# What is well-formed JSON but no object of fields, with the field that the answer names ("" is the body itself).
WRONG_SHAPE: dict[str, tuple[bytes, str]] = {
    "null": (b"null", ""),
    "true": (b"true", ""),
    "number": (b"42", ""),
    "text": (b'"x"', ""),
    "empty text": (b'""', ""),
    "empty array": (b"[]", ""),
    "array of objects": (b"[{}]", ""),
    "array of arrays": (b"[[[[]]]]", ""),
    "unknown field": (b'{"nonsense": 1}', "nonsense"),
    "prototype": (b'{"__proto__": {"admin": true}}', "__proto__"),
    "dotted": (b'{"a.b.c": 1}', "a.b.c"),
    "very long key": (b'{"' + b"k" * 5000 + b'": 1}', "k" * 5000),
}

ENDPOINTS: dict[str, tuple[str, str, Body]] = {path: ("POST", path, body) for path, body in POSTED.items()} | {
    "experiment edit": ("PATCH", "/experiments/rate-display", {"name": "A"}),
    "metric edit": ("PATCH", "/metrics/purchase", {"name": "A"}),
    "layer edit": ("PATCH", "/layers/home-page", {"name": "A"}),
    "holdout edit": ("PATCH", "/holdouts/q3", {"name": "A"}),
    "project edit": ("PATCH", "/projects/default", {"name": "A"}),
    "segment edit": ("PATCH", "/segments/staff", {"unit_ids": ["u-1"]}),
    "exposures": ("POST", "/exposures", {"events": [exposure_body()]}),
    "conversions": ("POST", "/conversions", {"events": [conversion_body()]}),
}


@pytest.fixture(scope="module", name="prepared")
def _prepared(shared_service: Service) -> Service:
    shared_service.start()
    shared_service.arrange()
    return shared_service


def test_there_are_bodies_enough() -> None:
    assert len(UNREADABLE) + len(PACKED) + len(WRONG_SHAPE) >= 72


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_an_unreadable_body_is_a_400_that_stores_nothing(unchanged: Service, endpoint: str) -> None:
    method, path, body = ENDPOINTS[endpoint]
    valid = json.dumps(body).encode()
    for name, make in UNREADABLE.items():
        started = time.perf_counter()
        answer = unchanged.admin.call(
            method, path, data=make(valid), content_type="application/json", headers={"If-Match": "*"}
        )
        assert answer.status_code == 400, f"{name}: {answer.status_code} {answer.text}"
        refusal(answer, 400, "UNREADABLE")
        assert time.perf_counter() - started < 1, name


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_body_that_is_not_packed_as_it_says_stores_nothing(unchanged: Service, endpoint: str) -> None:
    method, path, body = ENDPOINTS[endpoint]
    valid = json.dumps(body).encode()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, (encoding, make, status) in PACKED.items():
        answer = unchanged.admin.call(
            method,
            path,
            data=make(valid),
            content_type="application/json",
            headers={"If-Match": "*", "Content-Encoding": encoding},
        )
        assert answer.status_code == status, f"{name}: {answer.status_code} {answer.text}"
        refusal(answer, status)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "kilobytes"


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_body_of_another_shape_is_a_422_that_names_what_is_wrong(unchanged: Service, endpoint: str) -> None:
    method, path, _ = ENDPOINTS[endpoint]
    for name, (data, field) in WRONG_SHAPE.items():
        answer = unchanged.admin.call(
            method, path, data=data, content_type="application/json", headers={"If-Match": "*"}
        )
        # An event's refusal repeats a long name only in part; its first complaint is the one that is named.
        assert any(field.startswith(named) for named in refused_fields(answer)), name


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_body_too_large_is_a_413(unchanged: Service, endpoint: str) -> None:
    method, path, body = ENDPOINTS[endpoint]
    limit = 5_000_000 if path.startswith(("/exposures", "/conversions", "/segments")) else 1_000_000
    large = json.dumps(body).encode().ljust(limit + 1)
    packed = {"Content-Encoding": "gzip", "If-Match": "*"}
    for data, headers in [(large, {"If-Match": "*"}), (gzip.compress(large), packed)]:
        answer = unchanged.admin.call(method, path, data=data, content_type="application/json", headers=headers)
        refusal(answer, 413, "TOO_LARGE")


CONTENT_TYPES = (
    None,
    "",
    "text/plain",
    "text/json",
    "application/xml",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/json; charset=utf-16",
    "application/json; charset=latin-1",
    "application/jsonp",
    "x",
    "\xff/\xff",
)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_another_content_type_is_a_415(unchanged: Service, endpoint: str) -> None:
    method, path, body = ENDPOINTS[endpoint]
    for content_type in CONTENT_TYPES:
        answer = unchanged.admin.call(
            method, path, data=json.dumps(body), content_type=content_type, headers={"If-Match": "*"}
        )
        assert answer.status_code == 415, content_type
        refusal(answer, 415, "UNSUPPORTED_MEDIA")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_request_without_a_body_is_a_400_that_says_so(unchanged: Service, endpoint: str) -> None:
    method, path, _ = ENDPOINTS[endpoint]
    answer = unchanged.admin.call(method, path, headers={"If-Match": "*"})
    assert "no body" in refusal(answer, 400, "UNREADABLE")["detail"]


@pytest.mark.parametrize("length", ["abc", "-1", "0x10", "999999999999999999999", "1e3"])
def test_a_wrong_content_length_is_refused(unchanged: Service, length: str) -> None:
    answer = unchanged.admin.post(
        "/metrics",
        data=json.dumps(metric_body("new")),
        content_type="application/json",
        environ_overrides={"CONTENT_LENGTH": length},
    )
    assert answer.status_code in {400, 413}
    refusal(answer, answer.status_code)


def test_a_body_that_ends_before_its_length_is_refused(unchanged: Service) -> None:
    answer = unchanged.admin.post(
        "/metrics",
        data=json.dumps(metric_body("new")),
        content_type="application/json",
        environ_overrides={"CONTENT_LENGTH": "100000"},
    )
    refusal(answer, 400, "UNREADABLE")


class BrokenStream:
    """A chunked body whose sender talks nonsense: the server finds out while it reads."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        self._reads = 0

    def read(self, *_: int) -> bytes:
        self._reads += 1
        if self._reads == 1:
            return b'{"key": '
        raise self._error


@pytest.mark.parametrize("error", [OSError("chunk"), ValueError("invalid chunk header"), ConnectionResetError()])
def test_a_body_that_breaks_while_it_is_read_is_a_400(unchanged: Service, error: Exception) -> None:
    answer = unchanged.admin.post(
        "/metrics",
        content_type="application/json",
        headers={"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input": BrokenStream(error), "wsgi.input_terminated": True},
    )
    refusal(answer, 400, "UNREADABLE")


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("zstd", zstandard.compress), ("identity", bytes)]
)
def test_packed_bodies_are_read(service: Service, encoding: str, pack: Bytes) -> None:
    answer = service.admin.post(
        "/conversions",
        data=pack(json.dumps({"events": [conversion_body(f"c-{number}") for number in range(1000)]}).encode()),
        content_type="application/json",
        headers={"Content-Encoding": encoding},
    )
    assert (answer.status_code, answer.get_json()["accepted"]) == (202, 1000)


def test_steps_take_no_fields(unchanged: Service) -> None:
    path = "/experiments/rate-display/start"
    assert refused_fields(unchanged.admin.post(path, json={"status": "running"})) == {""}
    for name, make in UNREADABLE.items():
        if make(b"{}"):
            answer = unchanged.admin.post(path, data=make(b'{"a": 1}'), content_type="application/json")
            assert answer.status_code == 400, name


MASS_ASSIGNMENT = {
    "status": "running",
    "phase": 7,
    "revision": 99,
    "salt": "mine",
    "layer_salt": "mine",
    "phase_salt": "mine",
    "slots": [[0, 1_000_000]],
    "holdouts": [],
    "shipped": "treatment",
    "past_phases": [],
    "phase_started_at": "2020-01-01T00:00:00Z",
    "closed_at": None,
    "decided_at": "2020-01-01T00:00:00Z",
    "project": "other",
    "preregistered": False,
    "created_at": "2020-01-01T00:00:00Z",
    "started_at": "2020-01-01T00:00:00Z",
    "approved": True,
    "approved_by": "me",
    "id": 1,
    "secret": "abp_admin_0123456789abcdef_" + "x" * 43,
    "secret_hash": "0" * 64,
    "revoked_at": None,
    "received_at": "2020-01-01T00:00:00Z",
    "expected_variant": "treatment",
    "unit": "pseudonym",
}


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_fields_that_only_the_platform_sets_are_refused(unchanged: Service, endpoint: str) -> None:
    method, path, body = ENDPOINTS[endpoint]
    for field, value in MASS_ASSIGNMENT.items():
        answer = unchanged.admin.call(method, path, json=body | {field: value}, headers={"If-Match": "*"})
        assert refused_fields(answer) == {field}
