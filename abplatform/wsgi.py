"""The top: the whole server for any WSGI server, ``granian --interface wsgi abplatform.wsgi:app``.

``app`` is built when it is first asked for, from the environment: importing this module opens nothing.
"""

from __future__ import annotations

import gc
from functools import cache

from flask import Flask

from abplatform.api.app import create_app
from abplatform.bootstrap import build_platform
from abplatform.cli.session import log_to_stderr, prepare
from abplatform.settings import read_settings


@cache
def build_app() -> Flask:
    """The server as the environment describes it.

    Raises:
        StartRefused: for settings or a database that cannot be used; the message says what to do.
    """
    log_to_stderr()
    settings = read_settings()
    prepare(settings)
    app = create_app(build_platform(settings))
    # What is there now stays: looking through it again and again for garbage would cost a tenth of the time.
    gc.collect()
    gc.freeze()
    return app


def __getattr__(name: str) -> Flask:
    if name == "app":
        return build_app()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
