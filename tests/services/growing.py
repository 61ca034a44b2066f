"""Facts of any age, put straight into a lake."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from abplatform.bootstrap import Platform
from abplatform.domain.events import ConversionFact, ExposureFact
from abplatform.warehouse.bulk import append_facts
from abplatform.warehouse.layout import facts_to_arrow

Facts = Iterable[ExposureFact | ConversionFact]


def put(platform: Platform, facts: Facts) -> None:
    """Append facts to the lake, exposures and conversions each in one commit."""
    known = list(facts)
    exposures = [fact for fact in known if isinstance(fact, ExposureFact)]
    conversions = [fact for fact in known if isinstance(fact, ConversionFact)]
    append_facts(platform.lake, "default", "exposure", facts_to_arrow("exposure", exposures))
    append_facts(platform.lake, "default", "conversion", facts_to_arrow("conversion", conversions))


def of_time(at: datetime) -> dict[str, datetime]:
    """The times of a fact that came at once."""
    return {"timestamp": at, "sent_timestamp": at, "received_at": at}
