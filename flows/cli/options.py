"""Arguments and options that several commands have."""

from pathlib import Path
from typing import Any

import click

JSON_OPTION = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object on the last line."
)
JOB_ARGUMENT = click.argument("job", type=click.Path(path_type=Path))
SET_OPTION = click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Replace a setting."
)


def parse_settings(settings: tuple[str, ...]) -> dict[str, Any]:
    """Parse KEY=VALUE pairs, values as in YAML.

    Raises:
        click.BadParameter: a pair has no equals sign, or a value is not YAML.
    """
    from data_contracts.yaml_file import YamlFileError, parse_yaml

    pairs = {}
    for setting in settings:
        key, sign, value = setting.partition("=")
        if not sign:
            raise click.BadParameter(f"'{setting}' is not KEY=VALUE", param_hint="--set")
        try:
            pairs[key.strip()] = parse_yaml(value, f"the value of {key.strip()}")
        except YamlFileError as error:
            raise click.BadParameter(str(error), param_hint="--set") from error
    return pairs
