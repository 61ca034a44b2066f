"""Six experiments of internet finance, told with simulated customers in whom the truth is planted."""

from __future__ import annotations

from collections.abc import Mapping

from abplatform.cli.stories import account_opening, first_loan, invite_a_friend, rate_display, recall, rice_insurance
from abplatform.cli.stories.story import Story

STORIES: Mapping[str, Story] = {
    module.STORY.key: module.STORY
    for module in (rate_display, account_opening, rice_insurance, first_loan, recall, invite_a_friend)
}
