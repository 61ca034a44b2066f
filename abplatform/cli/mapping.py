"""Options of the form NAME=VALUE, repeatable."""

from __future__ import annotations

import click


class Mapping(click.ParamType):
    """One ``NAME=VALUE``; the first equals sign parts them.

    Args:
        form: as the help shows it, such as ``NAME=COLUMN``.
        values: what the value may be; anything if empty.
    """

    name = "mapping"

    def __init__(self, form: str, values: tuple[str, ...] = ()) -> None:
        self._form = form
        self._values = values

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:  # noqa: ARG002
        """As the help shows it."""
        return self._form

    def convert(
        self, value: str | tuple[str, str], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Name and value."""
        if isinstance(value, tuple):
            return value
        name, _, rest = value.partition("=")
        if not name or not rest:
            self.fail(f"{value!r} is not {self._form}", param, ctx)
        if self._values and rest not in self._values:
            self.fail(f"{rest!r} is none of {', '.join(self._values)}", param, ctx)
        return name, rest


def as_mapping(pairs: tuple[tuple[str, str], ...], option: str) -> dict[str, str]:
    """Values by name.

    Raises:
        click.BadParameter: a name stands twice.
    """
    values: dict[str, str] = {}
    for name, value in pairs:
        if name in values:
            raise click.BadParameter(f"{name!r} stands twice", param_hint=option)
        values[name] = value
    return values
