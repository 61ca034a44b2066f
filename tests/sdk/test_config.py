"""Options are checked at start, where a mistake can still be seen."""

from __future__ import annotations

import copy
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from abplatform_sdk import Client, Config
from abplatform_sdk.config import Options, default_cache_dir

URL = "http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("base_url", "localhost:8080"),
        ("base_url", "ftp://a"),
        ("base_url", "http://"),
        ("base_url", "http://a:99999"),
        ("base_url", "http://user@a"),
        ("base_url", "http://a/?x=1"),
        ("base_url", "http://a b"),
        ("base_url", "https://bücher.example"),
        ("proxy", "http://bücher.example:3128"),
        ("base_url", "http://a/ab/api/v1/"),
        ("base_url", None),
        ("api_key", ""),
        ("api_key", "key\r\nX-Other: 1"),
        ("api_key", "schlüssel"),
        ("api_key", None),
        ("poll_interval", 0),
        ("poll_interval", float("nan")),
        ("poll_interval", "10"),
        ("flush_interval", 61),
        ("batch_size", 99),
        ("batch_size", 1001),
        ("batch_size", 500.0),
        ("max_queue", 0),
        ("max_queue", True),
        ("connect_timeout", 0),
        ("read_timeout", float("inf")),
        ("close_timeout", -1),
        ("cache_dir", 5),
        ("proxy", ""),
        ("proxy", 5),
        ("proxy", "proxy:3128"),
        ("proxy", "socks5://proxy"),
        ("proxy", "http://proxy/path"),
        ("proxy", "http://user:se/cret@proxy"),
        ("proxy", "http://user:se#cret@proxy"),
        ("proxy", "http://proxy?x=1"),
        ("proxy", "http://proxy:99999"),
        ("ca_file", "/nonexistent/ca.pem"),
        ("ca_file", ""),
        ("client_certificate", "/nonexistent/client.pem"),
    ],
)
def test_a_bad_option_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        Client(**({"base_url": URL, "api_key": "k"} | {name: value}))


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(TypeError, match="pol_interval"):
        Client(URL, "k", pol_interval=3)  # type: ignore[call-arg]


def test_the_key_shows_neither_in_the_text_nor_in_the_fields_of_a_config() -> None:
    config = Config(base_url=URL, api_key="secret", proxy="http://user:secret@proxy")
    for shown in (config, config._asdict(), config._replace(max_queue=5)):
        assert "secret" not in repr(shown)
    assert config._replace(max_queue=5) == Config(base_url=URL, api_key="secret", proxy=config.proxy, max_queue=5)


def test_a_changed_config_is_checked_too() -> None:
    with pytest.raises(ValueError, match="max_queue"):
        Config(base_url=URL, api_key="k")._replace(max_queue=0)


@pytest.mark.parametrize("make", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_config_cannot_be_pickled_with_its_key(make: Callable[[Config], object]) -> None:
    with pytest.raises(TypeError, match="a Config holds secrets"):
        make(Config(base_url=URL, api_key="secret"))


@pytest.mark.parametrize("proxy", ["http://user:secret@proxy:3128", "http://user:sec/ret@proxy", "user:secret@proxy"])
def test_the_password_of_a_proxy_shows_nowhere(proxy: str) -> None:
    try:
        shown = repr(Config(base_url=URL, api_key="k", proxy=proxy))
    except ValueError as error:
        shown = "".join(traceback.format_exception(error)).replace(repr(proxy), "")
    assert "sec" not in shown


def test_a_client_certificate_is_not_for_a_connection_in_clear(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="client_certificate needs an https base_url"):
        Client(URL, "k", client_certificate=tmp_path)


def test_keyword_options_are_the_fields_of_the_config() -> None:
    fields = set(Config._fields)
    assert set(get_type_hints(Options)) == fields - {"base_url", "api_key"}


def test_the_disk_copy_lies_in_the_cache_directory_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/someone")
    assert default_cache_dir() == Path("/var/cache/someone/abplatform")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert default_cache_dir() == Path("/home/someone/.cache/abplatform")


@pytest.mark.parametrize("name", ["poll_intervall", "verify", "proxies"])
def test_an_option_that_is_not_there_is_named(name: str) -> None:
    options: Any = {name: 1}
    with pytest.raises(TypeError, match=f"^{name} is no option of the client$"):
        Client(URL, "k", **options)
