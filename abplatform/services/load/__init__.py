"""Load events from a table: history from before a platform was there, and outcomes that only a warehouse knows."""

from abplatform.services.load.load import LoadReport, LoadTarget, check_events, load_events
from abplatform.services.load.request import EventRequest, Origin, check_request

__all__ = ["EventRequest", "LoadReport", "LoadTarget", "Origin", "check_events", "check_request", "load_events"]
