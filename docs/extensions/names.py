"""Names in signatures: to what they link, and which may stay without a link in a strict build."""

import importlib
import inspect
from functools import cache
from typing import Any

from docutils import nodes
from sphinx.util.nodes import make_refnode

from extensions.generated import rooms


@cache
def public() -> dict[int, str]:
    """The public name of each class and function, by identity."""
    names: dict[int, str] = {}
    for room in rooms():
        module = importlib.import_module(room)
        for name in module.__all__:
            value = getattr(module, name)
            own = getattr(value, "__module__", "") or ""
            if own.startswith("minigan") and (inspect.isclass(value) or inspect.isroutine(value)):
                names[id(value)] = f"{room}.{name}"  # the last: the room, not the package
    return names


@cache
def found(name: str) -> Any:
    """The object of a full name, or None if there is none."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            value: Any = importlib.import_module(".".join(parts[:cut]))
        except ImportError:
            continue
        try:
            for part in parts[cut:]:
                value = getattr(value, part)
        except AttributeError:
            return None
        return value
    return getattr(importlib.import_module("builtins"), name, None)


def public_name(name: str) -> str:
    """The public name of what has this full name, or "": `minigan.train` is `minigan.runs.train`."""
    return public().get(id(found(name)), "") if name.startswith("minigan") else ""


def link(app: Any, env: Any, node: Any, inner: nodes.Node) -> nodes.Node | None:
    """Resolves a name by what it means, so that `minigan.nn.layers.conv.Conv2D` is `minigan.nn.Conv2D`.

    A name that exists but is not public stays text. One that does not exist stays unresolved: a strict build fails.
    """
    if node.get("refdomain") != "py":
        return None
    name = node["reftarget"]
    module = node.get("py:module")
    value = next((v for n in (name, f"{module}.{name}") if (v := found(n)) is not None), None)
    if value is None:
        return None
    target = env.get_domain("py").objects.get(name) or env.get_domain("py").objects.get(public().get(id(value), ""))
    if target is None:
        return inner
    return make_refnode(app.builder, node["refdoc"], target.docname, target.node_id, inner)


def setup(app: Any) -> dict[str, Any]:
    app.connect("missing-reference", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
