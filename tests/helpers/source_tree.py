"""minigan's own source: its modules' syntax trees, and what each imports."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import minigan

ROOT = Path(minigan.__file__).parent


class Import(NamedTuple):
    source: str  # the module with the statement
    target: str  # the module it names, as deep as a module goes
    lazy: bool  # inside a function, or for the type checker alone
    where: str  # file:line


def module_name(path: Path) -> str:
    parts = ("minigan", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def sources() -> dict[str, tuple[Path, ast.Module]]:
    """Each module's file and syntax tree."""
    return {
        module_name(path): (path, ast.parse(path.read_text(encoding="utf-8"), str(path)))
        for path in sorted(ROOT.rglob("*.py"))
    }


def place(module: str, node: ast.AST) -> str:
    return f"{sources()[module][0].relative_to(ROOT.parent)}:{node.lineno}"


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def walk(node: ast.AST, lazy: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """Every node below, and whether importing the module leaves it aside."""
    for child in ast.iter_child_nodes(node):
        aside = lazy or is_type_checking(child) or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        yield child, aside
        yield from walk(child, aside)


def absolute(module: str, node: ast.ImportFrom) -> str:
    """The module that a from-import names, relative ones resolved."""
    if not node.level:
        return node.module or ""
    is_package = sources()[module][0].name == "__init__.py"
    parts = module.split(".")
    base = parts[: len(parts) - node.level + is_package]
    return ".".join([*base, node.module] if node.module else base)


def only_the_version(tree: ast.Module) -> bool:
    """Whether all that a file says of the whole package is `minigan.__version__`, which lives in no room."""
    uses = [n for n, _ in walk(tree) if isinstance(n, ast.Attribute) and ast.unparse(n.value) == "minigan"]
    return {node.attr for node in uses} == {"__version__"}


@cache
def imports() -> tuple[Import, ...]:
    found = []
    for module, (_, tree) in sources().items():
        for node, lazy in walk(tree):
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
                if targets == ["minigan"] and only_the_version(tree):
                    continue
            elif isinstance(node, ast.ImportFrom):
                base = absolute(module, node)
                names = [f"{base}.{alias.name}" for alias in node.names]
                targets = sorted({name if name in sources() else base for name in names})
                if base == "minigan" and {alias.name for alias in node.names} == {"__version__"}:
                    continue
            else:
                continue
            found += [Import(module, target, lazy, place(module, node)) for target in targets]
    return tuple(found)


def own_imports() -> list[Import]:
    """Imports of minigan's own modules."""
    return [i for i in imports() if i.target.partition(".")[0] == "minigan"]


def room(module: str) -> str:
    """minigan.data.idx -> data; the package itself is above everything."""
    return module.split(".")[1] if "." in module else ""
