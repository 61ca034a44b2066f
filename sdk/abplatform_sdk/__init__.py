"""Client of the abplatform experimentation platform: see `Client`."""

import logging

from .client import Client
from .config import Config
from .counts import FlushResult, Stats
from .decision import Decision
from .notices import SnapshotNews

__all__ = ["Client", "Config", "Decision", "FlushResult", "SnapshotNews", "Stats", "__version__"]

__version__ = "0.1.0"

logging.getLogger("abplatform_sdk").addHandler(logging.NullHandler())
