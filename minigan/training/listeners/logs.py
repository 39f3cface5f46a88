"""Logs for other programs, by the names under which a training is asked for them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from minigan.errors import ConfigError
from minigan.support.arguments import did_you_mean, kind_of
from minigan.training.listeners.base import Listener
from minigan.training.listeners.csv_log import CsvLog
from minigan.training.listeners.tensorboard_log import TensorBoardLog

__all__ = ["LOGS", "log_names", "open_logs"]

LOGS: Mapping[str, Callable[[], Listener]] = {"csv": CsvLog, "tensorboard": TensorBoardLog}


def log_names(given: Any) -> tuple[str, ...]:
    """Names of logs, given as one name or several; each counts once.

    Raises:
        ConfigError: there is no such log.
    """
    names = (given,) if isinstance(given, str) else given
    if not isinstance(names, Sequence):
        raise ConfigError(f"log must be a list of {' or '.join(LOGS)}, got {kind_of(given)}. Write log=['csv'].")
    for name in names:
        if name not in list(LOGS):  # a list, which names without a hash may be looked up in
            hint = did_you_mean(name, LOGS) or " Name none but these after it."
            raise ConfigError(f"`log`: expected {' or '.join(LOGS)}, got {kind_of(name)}.{hint}")
    return tuple(dict.fromkeys(names))


def open_logs(names: Sequence[str]) -> list[Listener]:
    """A listener for each name.

    Raises:
        MissingExtraError: one needs a package that is not installed.
    """
    return [LOGS[name]() for name in names]
