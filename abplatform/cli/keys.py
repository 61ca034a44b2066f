"""``abplatform keys``."""

from __future__ import annotations

from typing import cast

import click

from abplatform.cli.session import open_platform, place
from abplatform.domain.access import DEFAULT_PROJECT, KEY_ROLES, KeyRole


@click.group("keys")
def command() -> None:
    """Make API keys."""


@command.command("create")
@click.option("--role", type=click.Choice(KEY_ROLES), required=True, help="What the key may do.")
@click.option("--name", required=True, help="Whose it is, for people.")
def create(role: str, name: str) -> None:
    """Make a key and print its secret on stdout, this one time."""
    from abplatform.services.access import create_key

    with open_platform() as platform, platform.uow.begin() as work:
        _, secret = create_key(work, DEFAULT_PROJECT, cast("KeyRole", role), name=name, now=platform.now())
        where = place(platform.settings)
    click.echo(secret)
    click.echo(
        f"made a key with the role {role} in {where}; only its hash is stored, it cannot be shown again", err=True
    )
