"""Settings of a recipe, from `--set` and from the flags that are settings, too."""

import argparse

from minigan.cli.recipes import parse_settings
from minigan.errors import ConfigError

__all__ = ["chosen_settings"]


def chosen_settings(options: argparse.Namespace) -> dict[str, str | int]:
    """The recipe's settings from --set and from the flags that are settings, too."""
    settings: dict[str, str | int] = dict(parse_settings(options.set))
    for name in ("steps", "batch_size", "targets", "data_b"):
        value = getattr(options, name, None)
        if value is None:
            continue
        if settings.get(name, str(value)) != str(value):
            flag = f"--{name.replace('_', '-')}"
            raise ConfigError(f"{flag} {value} and --set {name}={settings[name]} disagree. Give only one of them.")
        settings[name] = value
    return settings
