"""The vendored scripts are the published ones, and can stand inside a page."""

from __future__ import annotations

import hashlib
from importlib import resources

import altair as alt
import pytest

# SHA-256 of build/*.min.js in the npm packages vega 6.4.0, vega-lite 6.4.1 and vega-embed 7.3.0.
DIGESTS = {
    "vega.min.js": "8f6a3587cf8d4f42c7e08120e3eb05d067e746d554e39d2dcf52acc0bd5ba28f",
    "vega-lite.min.js": "6d5035fdd429b4bc6f91f3754426c3f516f3dbd8e08b105cfc2496bed4ebd254",
    "vega-embed.min.js": "b1455caba2fb1a72fb46025ba0ba1316e2dbc7f0dd40a3f6040172bf9c08ba91",
}
STATIC = resources.files("abplatform.readout") / "static"


@pytest.mark.parametrize("name", DIGESTS)
def test_vendored_script_is_the_published_one(name: str) -> None:
    content = (STATIC / name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == DIGESTS[name]
    assert name in (STATIC / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*DIGESTS, "draw.js", "readout.css"])
def test_nothing_in_an_asset_ends_its_element(name: str) -> None:
    text = (STATIC / name).read_text(encoding="utf-8").lower()
    assert "</script" not in text
    assert "</style" not in text
    assert "<!--" not in text


def test_the_scripts_read_what_altair_writes() -> None:
    written = alt.SCHEMA_VERSION.removeprefix("v").partition(".")[0]
    assert written == "6", "renew the vendored scripts: Altair writes another major version of Vega-Lite"
