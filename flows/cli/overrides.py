"""Settings on the command line."""

from typing import Any

import click


def parse_settings(settings: tuple[str, ...]) -> dict[str, Any]:
    """Parse KEY=VALUE pairs, values as in YAML.

    Raises:
        click.BadParameter: a pair has no equals sign.
    """
    import yaml

    pairs = {}
    for setting in settings:
        key, sign, value = setting.partition("=")
        if not sign:
            raise click.BadParameter(f"'{setting}' is not KEY=VALUE", param_hint="--set")
        pairs[key.strip()] = yaml.safe_load(value)
    return pairs
