"""Client of the abplatform experimentation platform.

>>> from abplatform_sdk import Client
>>> client = Client("http://localhost:8080", api_key="...")          # doctest: +SKIP
>>> client.assign("rate-display", "u-1", {"country": "CN"}).variant  # doctest: +SKIP
'treatment'
"""

import logging

from .client import Client
from .config import Config
from .decision import Decision
from .notices import FlushResult, SnapshotNews, Stats

__all__ = ["Client", "Config", "Decision", "FlushResult", "SnapshotNews", "Stats", "__version__"]

__version__ = "0.1.0"

logging.getLogger("abplatform_sdk").addHandler(logging.NullHandler())
