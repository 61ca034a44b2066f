"""Results with money: what one more customer costs."""

from __future__ import annotations

from flask import Response
from flask.views import MethodView

from abplatform.api.arguments import Resource
from abplatform.api.auth import Ability, needs
from abplatform.api.context import platform, project
from abplatform.api.encoded import answer_encoded, describe_documents
from abplatform.api.schemas.acquisition import AcquisitionSchema
from abplatform.domain.acquisition import AcquisitionCosts
from abplatform.services.price_acquisition import Pricing

resource = Resource("acquisition", __name__, url_prefix="/api/v1/experiments", description="What a customer costs")

(_REFERENCE,), COMPONENTS = describe_documents(AcquisitionCosts)


@resource.route("/<key:key>/results/acquisition-cost")
class AcquisitionCost(MethodView):
    """Cost per acquisition."""

    @needs(Ability.READ)
    @resource.arguments(AcquisitionSchema())
    @resource.response(200, _REFERENCE)
    def post(self, pricing: Pricing, key: str) -> Response:
        """Divide what channels cost by what they brought, in each variant.

        A cost is shared equally over the channel's units of all variants. Nothing is recorded, and the costs are not
        kept. Channels without a cost are listed in `without_cost`, and are in no number.
        """
        found = platform().explorer.acquisition_cost(project(), key, pricing=pricing)
        return answer_encoded(found)
