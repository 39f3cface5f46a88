"""The public interface: paths that stay, names that exist, and help() that helps."""

import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import minigan

ROOT = Path(__file__).parents[2]
TABLE = (minigan.__doc__ or "").partition("The rooms, each built on those above it:\n\n")[2].partition("\n\n")[0]
LISTED = {f"minigan.{line.split()[0]}" for line in TABLE.splitlines()}
INNER = {f"minigan.{name}" for name in re.findall(r"\w+\.\w+", TABLE)}  # rooms within rooms
MODULES = ["minigan", *(f"minigan.{m.name}" for m in pkgutil.iter_modules(minigan.__path__) if m.name != "__main__")]


def members(module):
    """The public names of a module with what they are, and for classes their own public methods and properties."""
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isroutine(value):
            yield f"{module.__name__}.{name}", value
        if inspect.isclass(value):
            for key, member in vars(value).items():
                if not key.startswith("_") and (inspect.isroutine(member) or isinstance(member, property)):
                    yield f"{module.__name__}.{name}.{key}", getattr(value, key)


@pytest.fixture(params=MODULES)
def module(request):
    return importlib.import_module(request.param)


def test_every_public_module_says_what_is_public(module):
    assert module.__doc__
    assert len(set(module.__all__)) == len(module.__all__)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_everything_public_has_a_docstring(module):
    def is_written(name, value):
        text = inspect.getdoc(value)
        return text and not text.startswith(name.rpartition(".")[2] + "(")  # a NamedTuple's own

    assert [name for name, value in members(module) if not is_written(name, value)] == []


def test_names_of_the_package_are_those_of_its_modules():
    """Loaded when used, typed for checkers: both lists in `minigan/__init__.py` name the same."""
    text = (ROOT / "minigan" / "__init__.py").read_text(encoding="utf-8")
    typed = re.findall(r"^    from minigan\.(\w+) import (.+)$", text, re.MULTILINE)
    homes = {name: home for home, names in typed for name in names.split(", ")}
    assert {*homes, "__version__"} == set(minigan.__all__)
    for name, home in homes.items():
        assert getattr(minigan, name) is getattr(importlib.import_module(f"minigan.{home}"), name)
    with pytest.raises(AttributeError, match="module 'minigan' has no attribute 'nothing'"):
        minigan.nothing  # noqa: B018
    for name in ("a.b", "data.source", "", "data ", "1"):
        assert not hasattr(minigan, name)


def test_help_lists_every_room():
    assert {"minigan", *LISTED} == set(MODULES)


def test_dir_shows_what_is_public_and_nothing_else():
    rooms = {name.removeprefix("minigan.") for name in LISTED}
    assert set(dir(minigan)) == {*minigan.__all__, *rooms}


def test_help_explains_what_is_passed_and_returned():
    """An alias of a Callable has the docstring of all Callables."""
    for kind in (minigan.nn.Schedule, minigan.nn.Initializer):
        text = inspect.getdoc(kind) or ""
        assert "any function of" in text and "lambda" in text
    assert {"Args:", "Returns:", "Raises:"} <= set((inspect.getdoc(minigan.to_pixels) or "").split())


@pytest.mark.parametrize("name", sorted({*LISTED, *INNER} - {"minigan"}))
def test_dir_of_a_room_is_its_public_names(name):
    room = importlib.import_module(name)
    rooms_within = {inner.removeprefix(f"{name}.") for inner in INNER if inner.startswith(f"{name}.")}
    assert set(dir(room)) == {*room.__all__, *rooms_within}


def test_every_documented_import_works():
    texts = [*ROOT.glob("[RC]*.md"), ROOT / "docs" / "library.md", *(ROOT / "examples").glob("*.py")]
    lines = {
        line
        for path in texts
        for line in re.findall(r"^(?:from minigan[\w.]* import .+|import minigan.*)$", path.read_text(), re.MULTILINE)
        if not line.endswith("(")
    }
    assert len(lines) > 10
    for line in sorted(lines):
        exec(line, {})
        assert line.split()[1] in {"minigan", *LISTED, *INNER}, f"{line}: of no module that help(minigan) lists"


def test_help_is_about_minigan():
    """In a fresh interpreter: nothing was loaded before."""
    code = "import minigan; help(minigan); help(minigan.nn.Sequential); help(minigan.data)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert "The rooms, each built on those above it:" in shown
    assert "load_generator(path: str | os.PathLike[str], *, backend: str | minigan.backends.base.Backend" in shown
    assert "Layers one after the other; itself a layer, so sequences nest." in shown
    assert "build(self, input_shape: tuple[int, ...], *, backend:" in shown
    assert "import_module" not in shown
