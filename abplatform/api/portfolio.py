"""Results of more than one experiment: holdouts, past experiments together, experiments at the same time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response
from flask.views import MethodView

from abplatform.api.arguments import Resource
from abplatform.api.auth import Ability, needs
from abplatform.api.context import platform, project
from abplatform.api.encoded import answer_encoded, describe_documents
from abplatform.api.schemas.listing import HoldoutQuery, InteractionsQuery, PortfolioQuery
from abplatform.domain.holdout_results import HoldoutResults
from abplatform.domain.interactions import Interactions
from abplatform.domain.portfolio import Portfolio
from abplatform.services.read_holdout import HoldoutQuestion
from abplatform.services.read_interactions import Crossing

resource = Resource("portfolio", __name__, url_prefix="/api/v1", description="What many experiments did together")

_REFERENCES, COMPONENTS = describe_documents(HoldoutResults, Portfolio, Interactions)


@resource.route("/holdouts/<key:key>/results")
class HoldoutReadout(MethodView):
    """What everything that was shipped did together."""

    @needs(Ability.READ)
    @resource.arguments(HoldoutQuery(), location="query")
    @resource.response(200, _REFERENCES[0])
    def get(self, query: Mapping[str, str], key: str) -> Response:
        """Compare the units without the holdout with those that it holds out, since its start.

        Beside it stands what was shipped meanwhile, with what each experiment had found. Nothing is recorded.
        """
        question = HoldoutQuestion(metrics=tuple(query["metric"].split(",")), method=query["method"])
        return answer_encoded(platform().explorer.holdout_results(project(), key, question=question))


@resource.route("/portfolio")
class Past(MethodView):
    """Past experiments on one metric together."""

    @needs(Ability.READ)
    @resource.arguments(PortfolioQuery(), location="query")
    @resource.response(200, _REFERENCES[1])
    def get(self, query: Mapping[str, str]) -> Response:
        """Give the effect that each past experiment had found, and what of it is likely to be true.

        Effects are shrunken towards what all experiments have in common (empirical Bayes), against the winner's curse.
        It rests on looks that were recorded: nothing is computed from events, and nothing is recorded.
        """
        return answer_encoded(platform().explorer.portfolio(project(), query["metric"]))


@resource.route("/experiments/<key:key>/results/interactions")
class Crossed(MethodView):
    """Interactions with experiments at the same time."""

    @needs(Ability.READ)
    @resource.arguments(InteractionsQuery(), location="query")
    @resource.response(200, _REFERENCES[2])
    def get(self, query: Mapping[str, Any], key: str) -> Response:
        """Search for experiments that change the effect of this one, the surest first.

        Of those found, a share of alpha is expected to be false. Exploratory: it decides nothing.
        """
        return answer_encoded(platform().explorer.interactions(project(), key, crossing=Crossing(**query)))
