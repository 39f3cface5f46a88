"""Settings of a recipe: their types and ranges, their explanations, and their texts at a prompt."""

import dataclasses
import inspect
import math
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from minigan.errors import ConfigError
from minigan.losses import LOSSES, PENALTIES
from minigan.support.arguments import as_integer, as_number, did_you_mean, kind_of
from minigan.support.representation import constructor_call

__all__ = ["OPTIMIZERS", "SCHEDULES", "Settings", "from_text", "preset_in_words"]

OPTIMIZERS = ("adam", "adamw", "sgd", "rmsprop")
SCHEDULES = ("constant", "linear", "exponential", "cosine")
MOST_LAYERS = 1000
# Settings that name data: the data, and the recipes that learn from such.
OF_OTHERS = {"targets": ("pairs", "pix2pix or segment"), "data_b": ("unpaired images", "cyclegan")}
PRESET = "preset"  # in place of a setting: the name of a set of them
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_WORDS: Mapping[type, str] = {int: "an integer", float: "a number", str: "a string", bool: "True or False"}


class Settings:
    """Base of a frozen dataclass whose fields are settings with defaults.

    Attributes:
        name: the recipe's.
        meanings: explanations of the settings by name, from the sections "Settings:" of the docstrings.
        presets: sets of settings by name; `preset=NAME` stands for the settings of one, see `with_preset`.
        before: values of settings that files lack which were written before there were these settings, where the
            default would change what a run does; see `Recipe.from_stored`.
    """

    name: ClassVar[str]
    meanings: ClassVar[Mapping[str, str]] = {}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    before: ClassVar[Mapping[str, Any]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.__repr__ = Settings.__repr__  # type: ignore[method-assign]  # a dataclass would write one of all settings
        inherited = {
            name: text for base in reversed(cls.__mro__) for name, text in getattr(base, "meanings", {}).items()
        }
        cls.meanings = {**inherited, **_meanings(cls.__doc__ or "")}
        if "name" in vars(cls) and cls.__doc__ is not None:
            cls.__doc__ = _whole_text(cls)

    def __post_init__(self) -> None:
        self.check_types()

    def check_types(self) -> None:
        """Brings every setting to its type; raises ConfigError for one of another type."""
        for name, kind in self.kinds().items():
            object.__setattr__(self, name, self._typed(name, kind))

    def __repr__(self) -> str:
        return constructor_call(self)

    @classmethod
    def kinds(cls) -> dict[str, type]:
        """The type of each setting by name: its default's."""
        return {field.name: type(field.default) for field in dataclasses.fields(cls)}  # type: ignore[arg-type]

    @classmethod
    def expect_names(cls, names: Iterable[str], *, also: Iterable[str] = ()) -> None:
        """Refuses names that are no settings.

        Args:
            also: other names that somebody may have meant.
        Raises:
            ConfigError: a name is unknown.
        """
        kinds = cls.kinds()
        for name in names:
            if name in kinds:
                continue
            if name in OF_OTHERS:
                data, others = OF_OTHERS[name]
                raise ConfigError(f"{cls.name} learns from no {data}, got `{name}`. Use {others}.")
            hint = did_you_mean(name, (*kinds, *also)) or f" Expected one of {', '.join(sorted(kinds))}."
            raise ConfigError(f"{cls.name} has no setting {name!r}.{hint}")

    @classmethod
    def with_preset(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The settings, among which `preset` is replaced by the settings that it names; those given beside it win.

        Raises:
            ConfigError: there is no such preset.
        """
        given = dict(settings)
        name = given.pop(PRESET, None)
        if name is None:
            return given
        if not isinstance(name, str) or name not in cls.presets:
            known = f"expected one of {', '.join(cls.presets)}" if cls.presets else "it has none"
            shown = repr(name) if isinstance(name, str) else kind_of(name)
            raise ConfigError(f"{cls.name} has no preset {shown}: {known}.{did_you_mean(name, cls.presets)}")
        return {**cls.presets[name], **given}

    def _typed(self, name: str, kind: type) -> Any:
        """A setting's value in its type; an integer may become a float, but not the reverse.

        Raises:
            ConfigError: it has another type.
        """
        value = getattr(self, name)
        value = value.item() if isinstance(value, np.generic) else value
        if type(value) is kind:
            return value
        fits = isinstance(value, kind) or (kind is float and type(value) is int and abs(value) < sys.float_info.max)
        if fits and not isinstance(value, bool):
            return kind(value)
        raise ConfigError(f"{self.name}: {_wrong_type(value, name, kind)}")

    # ------------------------------------------------------------------------------------------ ranges

    def check_choice(self, name: str, known: Iterable[str]) -> None:
        """Checks that the setting is one of these; raises ConfigError otherwise."""
        value = getattr(self, name)
        if value not in known:
            hint = did_you_mean(value, known)
            raise ConfigError(f"{self.name}: {name} must be one of {', '.join(known)}, got {value!r}.{hint}")

    def check_positive(self, *names: str) -> None:
        """Checks that these settings are above 0 and finite; raises ConfigError otherwise."""
        for name in names:
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{self.name}: {name} must be positive, got {self._shown(name)}.")

    def check_layers(self, name: str, *, least: int = 1) -> None:
        """Checks that the setting is a sensible number of layers or networks; raises ConfigError otherwise."""
        if not least <= getattr(self, name) <= MOST_LAYERS:
            raise ConfigError(f"{self.name}: {name} must be from {least} to {MOST_LAYERS:,}, got {self._shown(name)}.")

    def check_from_zero(self, *names: str) -> None:
        """Checks that these settings are at least 0 and finite; raises ConfigError otherwise."""
        for name in names:
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{self.name}: {name} must be a number from 0 up, got {self._shown(name)}.")

    def check_least(self, *names: str, least: int) -> None:
        """Checks that these settings are at least that; raises ConfigError otherwise."""
        for name in names:
            if getattr(self, name) < least:
                raise ConfigError(f"{self.name}: {name} must be at least {least}, got {self._shown(name)}.")

    def check_share(self, *names: str) -> None:
        """Checks that these settings are at least 0 and below 1; raises ConfigError otherwise."""
        for name in names:
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{self.name}: {name} must be in [0, 1), got {self._shown(name)}.")

    def _shown(self, name: str) -> str:
        """A number as a user may have written it: 0, not 0.0."""
        value = getattr(self, name)
        return f"{value:g}" if isinstance(value, float) else str(value)


def from_text(value: str, name: str, kind: type, *, of: str) -> Any:
    """A setting's value from its text, as on a command line.

    Args:
        of: the recipe's name.
    Raises:
        ConfigError: it is not of that type.
    """
    try:
        return _TRUTH[value.lower()] if kind is bool else kind(value)
    except (ValueError, KeyError, OverflowError):
        raise ConfigError(f"{of}: {_wrong_type(value, name, kind)}") from None


def _wrong_type(value: Any, name: str, kind: type) -> str:
    """The error for a setting of another type, with what to write."""
    if kind is str:
        remedy = f"Write {name}={known!r}." if (known := _named(value)) else ""
    else:
        remedy = as_integer(value, name) if kind is int else as_number(value, name) if kind is float else ""
    return f"{name} must be {_WORDS.get(kind, kind.__name__)}, got {kind_of(value)}.{' ' * bool(remedy)}{remedy}"


def _named(value: Any) -> str:
    """The name by which settings choose a class: hinge for `Hinge` and `Hinge()`; "" for other values."""
    kind = (value if isinstance(value, type) else type(value)).__name__.lower()
    names = (*OPTIMIZERS, *SCHEDULES, *LOSSES, *PENALTIES)
    return max((name for name in names if kind.startswith(name.replace("-", ""))), key=len, default="")


def _meanings(text: str) -> dict[str, str]:
    """Explanations of settings by name, from the section "Settings:" of a docstring."""
    _, _, section = inspect.cleandoc(text).partition("Settings:\n")
    section = re.split(r"^\S", section, maxsplit=1, flags=re.MULTILINE)[0]
    section = re.sub(r"\n {5,}", " ", section)  # a continued line
    found = re.findall(r"^ +([\w, ]+): (.+)$", section, flags=re.MULTILINE)
    return {name.strip(): meaning for names, meaning in found for name in names.split(",")}


def _whole_text(cls: type[Settings]) -> str:
    """The docstring that `help` shows: the class's own, its file's with the paper, and all settings."""
    summary = inspect.cleandoc(cls.__doc__ or "").partition("Settings:\n")[0].strip()
    origin = (getattr(sys.modules.get(cls.__module__), "__doc__", None) or "").strip()
    lines = [f"    {name} = {getattr(cls, name, '')!r}: {text}" for name, text in cls.meanings.items()]
    sets = [f"    preset={name!r}: {preset_in_words(settings)}" for name, settings in cls.presets.items()]
    parts = (summary, origin, "\n".join(["Settings:", *lines]), "\n".join(["Presets:", *sets]) if sets else "")
    return "\n\n".join(part for part in parts if part) + "\n"


def preset_in_words(settings: Mapping[str, Any]) -> str:
    """The settings of a preset as `--set` takes them; one without any is the default."""
    return " ".join(f"{name}={value}" for name, value in settings.items()) or "the default"
