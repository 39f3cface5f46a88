"""The line on which a class or a function begins: `inspect` parses the whole file for each, here it is kept."""

import ast
import importlib
from functools import cache
from pathlib import Path


@cache
def lines_of(path: Path) -> dict[str, int]:
    """The first line of all classes and functions of a file, decorators included, by qualified name."""
    found: dict[str, int] = {}

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                name = prefix + child.name
                found.setdefault(name, min([child.lineno, *(d.lineno for d in child.decorator_list)]))
                visit(child, f"{name}.")
            else:
                visit(child, prefix)

    visit(ast.parse(path.read_text(encoding="utf-8")), "")
    return found


@cache
def annotations_of(path: Path) -> dict[str, dict[str, str]]:
    """The annotations of all functions of a file as they are written, "return" among them, by qualified name."""
    found: dict[str, dict[str, str]] = {}

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                every = [*child.args.posonlyargs, *child.args.args, *child.args.kwonlyargs]
                notes = {argument.arg: argument.annotation for argument in every} | {"return": child.returns}
                found[prefix + child.name] = {name: ast.unparse(note) for name, note in notes.items() if note}
            visit(child, f"{prefix}{child.name}." if isinstance(child, ast.ClassDef) else prefix)

    visit(ast.parse(path.read_text(encoding="utf-8")), "")
    return found


def source_file(module: str) -> Path | None:
    """The file of a module, if it is one."""
    file = getattr(importlib.import_module(module), "__file__", None) if module else None
    return Path(file).resolve() if file else None


def first_line(module: str, name: str) -> int | None:
    """The line on which a qualified name of a module begins, or None."""
    path = source_file(module)
    return lines_of(path).get(name) if path else None
