"""Pages that need nothing else: their style is inside, and a content security policy lets nothing be loaded.

Scripts run only if the page carries them, each named by its SHA-256.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from abplatform import __version__


def render_page(template: str, *, scripts: Sequence[str] = (), **content: Any) -> str:
    """Write a page.

    Args:
        template: name of the file in ``readout/templates``.
        scripts: names of the files in ``readout/static`` that run on it.
        content: what the template shows; texts are escaped.
    """
    run = tuple(_asset(name) for name in scripts)
    style = _asset("readout.css")
    return (
        _environment()
        .get_template(template)
        .render(
            policy=_policy(run, style),
            style=Markup(style),  # noqa: S704 - our own file
            scripts=[Markup(script) for script in run],  # noqa: S704 - our own and vendored files
            version=__version__,
            **content,
        )
    )


@cache
def _asset(name: str) -> str:
    text = resources.files("abplatform.readout").joinpath("static", name).read_text(encoding="utf-8")
    # A source map is another file; the page has none.
    return "\n".join(line for line in text.splitlines() if not line.startswith("//# sourceMappingURL="))


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("abplatform.readout"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _policy(scripts: Sequence[str], style: str) -> str:
    allowed = " ".join(_fingerprint(script) for script in scripts) or "'none'"
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {allowed}",
            f"style-src-elem {_fingerprint(style)}",
            # Vega sets style attributes on the shapes that it draws.
            "style-src-attr 'unsafe-inline'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _fingerprint(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
