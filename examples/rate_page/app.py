"""A rate page whose words are under test: a small, complete product on abplatform."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from uuid import uuid4

from abplatform_sdk import Client
from abplatform_sdk.flask import Experiments, Unit
from flask import Flask, Request, abort, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response

EXPERIMENT = "rate-display"
# What the page says before the first snapshot, to visitors without an id, and when the experiment is gone.
DEFAULT = {"copy": "3.5% a year"}
LARGEST_DEPOSIT = Decimal(1_000_000)
READY_WITHIN = 3.0


def create_app(client: Client | None = None) -> Flask:
    """The application. Its settings are environment variables with the prefix ``RATE_PAGE_``; see the README.

    Args:
        client: for tests; else one is made from the settings.

    Raises:
        ValueError: a setting is missing, or a bad one.
    """
    app = Flask(__name__)
    app.config.update(SESSION_COOKIE_SAMESITE="Lax", SESSION_COOKIE_HTTPONLY=True)
    app.config.from_prefixed_env("RATE_PAGE")
    if not app.config.get("SECRET_KEY"):
        raise ValueError("RATE_PAGE_SECRET_KEY must be set")
    experiments = Experiments(app, client=client, unit=read_unit)
    with app.app_context():
        # Until there is a snapshot, everybody gets the default.
        experiments.client.wait_ready(READY_WITHIN)

    @app.before_request
    def know_visitor() -> None:
        session.setdefault("visitor", str(uuid4()))

    @app.get("/")
    def show_rate() -> str:
        decision = experiments.assign(EXPERIMENT, default=DEFAULT)
        return render_template("rate.html", copy=decision.payload["copy"], order=str(uuid4()))

    @app.post("/deposits")
    def make_deposit() -> Response:
        amount = read_amount(request.form.get("amount", ""))
        # The order's own id: a form that is sent twice counts once.
        experiments.track(
            "purchase",
            value=amount,
            properties={"product": "term-deposit"},
            event_id=request.form.get("order") or None,
        )
        return redirect(url_for("thank", amount=amount), code=303)

    @app.get("/thanks")
    def thank() -> str:
        return render_template("thanks.html", amount=read_amount(request.args.get("amount", "")))

    return app


def read_unit(request: Request) -> Unit:
    """The visitor, and what targeting and break-downs may ask of one."""
    return Unit(
        session.get("visitor"),
        # The proxy in front sets the country; the links of campaigns name their channel.
        {"country": request.headers.get("X-Country", "CN"), "channel": request.args.get("channel", "direct")},
    )


def read_amount(text: str) -> Decimal:
    """An amount of money with at most two decimals; 400 for anything else."""
    try:
        amount = Decimal(text)
        is_usable = 0 < amount <= LARGEST_DEPOSIT and amount == round(amount, 2)
    except InvalidOperation:
        is_usable = False
    if not is_usable:
        abort(400, "amount: must be a number from 0.01 to 1,000,000 with at most two decimals")
    return amount
