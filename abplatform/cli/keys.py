"""``abplatform keys``."""

from __future__ import annotations

from typing import cast

import click

from abplatform.cli.session import check_has_data, open_platform, place, usable_settings
from abplatform.domain.access import DEFAULT_PROJECT, KEY_ROLES, KeyRole


@click.group("keys")
def command() -> None:
    """Make API keys."""


@command.command("create")
@click.option("--role", type=click.Choice(KEY_ROLES), required=True, help="What the key may do.")
@click.option("--name", required=True, help="Whose it is, for people.")
@click.option("--new", is_flag=True, help="Make the platform, too, where there is none yet.")
def create(role: str, name: str, *, new: bool) -> None:
    """Make a key and print its secret on stdout, this one time."""
    from abplatform.services.access import create_key

    settings = usable_settings()
    if not new:
        check_has_data(settings, way_out="; --new makes a new platform here")
    with open_platform(settings) as platform, platform.uow.begin() as work:
        _, secret = create_key(work, DEFAULT_PROJECT, cast("KeyRole", role), name=name, now=platform.now())
        where = place(platform.settings)
    click.echo(secret)
    click.echo(
        f"made a key with the role {role} in {where}; only its hash is stored, it cannot be shown again", err=True
    )
