"""Adopt an experiment that already ran: a table with one row per unit becomes facts, metrics, a stopped experiment."""

from abplatform.services.adopt.adopt import ImportReport, Target, adopt_table
from abplatform.services.adopt.request import ImportRequest, Outcome
from abplatform.services.read_table.source import RowFault

__all__ = ["ImportReport", "ImportRequest", "Outcome", "RowFault", "Target", "adopt_table"]
