"""The house rules that a program can check: rooms, extras, signatures, and what an import costs."""

import ast
import importlib
import importlib.util
import inspect
import os
import pkgutil
import subprocess
import sys

import pytest
from source_tree import ROOT, Import, imports, own_imports, place, room, sources, walk

from minigan.backends.base import KERNELS, Backend
from minigan.backends.reference import ReferenceBackend

# The rooms from the ground up: each imports only from rooms before it, late imports included.
ROOMS = (
    "errors",  # what minigan raises on purpose
    "support",  # the machine and the terminal
    "distributed",  # processes that share a batch
    "backends",  # the kernels: one contract, three engines with the same file names
    "nn",  # networks and what updates them
    "losses",  # a value with its gradient
    "data",  # images and points in, pictures out
    "checkpoints",  # state on disk
    "evaluation",  # how good is it
    "training",  # one step, and the loop around it
    "recipes",  # GANs by name
    "latent",  # single latent vectors: seeds, truncation, walks, projection
    "runs",  # a recipe, its data and a folder; a trained generator
    "live",  # training as you watch
    "inspection",  # what a network, a layer or a loss does, explained
    "export",  # for other programs
    "cli",  # the command line
    "__main__",
)
# Inside backends/: who may use whom. `__init__` chooses among all of them, when it is called.
BACKEND_ROOMS = {
    "geometry": set(),
    "precision": set(),
    "constants": set(),
    "base": {"geometry", "precision", "constants"},
    "recycler": {"base"},
    "workspace": {"base", "recycler"},
    "synchronized": {"base"},
    "reference": {"geometry", "base", "workspace"},
    "cpu": {"geometry", "precision", "constants", "base", "recycler", "workspace", "synchronized", "reference"},
    "gpu": {"geometry", "precision", "base", "workspace", "synchronized", "reference"},
}
CORE = {"numpy", "safetensors"}
HOME = {
    "numba": "minigan.backends.cpu",
    "llvmlite": "minigan.backends.cpu",
    "cupy": "minigan.backends.gpu",
    "onnx": "minigan.export",
    "mpi4py": "minigan.distributed",
}
EXTRAS = ("numba", "cupy", "PIL", "rich", "matplotlib", "torch", "onnx", "tensorboardX", "mpi4py")


# ---------------------------------------------------------------------------------------- rooms


def objection(edge: Import) -> str | None:
    """Why this import of another minigan module is not allowed, or None."""
    source, target = room(edge.source), room(edge.target)
    if source == "":
        return None
    if target == "":
        return "imports the whole package: name the module"
    if source == target:
        return backend_objection(edge) if source == "backends" else None
    if ROOMS.index(target) < ROOMS.index(source):
        return None
    return f"{source} imports only from {', '.join(ROOMS[: ROOMS.index(source)]) or 'no room'}"


def backend_objection(edge: Import) -> str | None:
    source, target = (m.split(".")[2] if m.count(".") > 1 else "" for m in (edge.source, edge.target))
    if source == target:
        return None
    if source == "":
        early = edge.lazy or target in ("base", "geometry", "precision")
        return None if early else f"backends imports {target} before it is asked for"
    if target == "":
        return "a backend imports from backends.base, not from the package that chooses among backends"
    if source not in BACKEND_ROOMS:
        return f"backends.{source} has no place yet: give it one in BACKEND_ROOMS"
    if target not in BACKEND_ROOMS[source]:
        return f"backends.{source} may import from {sorted(BACKEND_ROOMS[source])} only"
    return None


@pytest.mark.parametrize(
    ("source", "target", "lazy", "allowed"),
    [
        ("minigan.nn.layers.conv", "minigan.backends.geometry", False, True),
        ("minigan.nn.layers.conv", "minigan.nn.layers.base", False, True),
        ("minigan.nn.layers.conv", "minigan.losses", True, False),
        ("minigan.losses", "minigan.data.idx", False, False),
        ("minigan.training.trainer", "minigan.checkpoints.format", False, True),
        ("minigan.training.trainer", "minigan.cli", True, False),
        ("minigan.backends.cpu.conv", "minigan.backends.reference", False, True),
        ("minigan.backends.cpu.conv", "minigan.backends.geometry", False, True),
        ("minigan.backends.cpu.conv", "minigan.backends.gpu", False, False),
        ("minigan.backends.reference.conv", "minigan.backends.cpu", True, False),
        ("minigan.backends", "minigan.backends.cpu", True, True),
        ("minigan.backends", "minigan.backends.cpu", False, False),
        ("minigan.backends", "minigan.backends.precision", False, True),
        ("minigan.backends.gpu.engine", "minigan.backends.precision", False, True),
        ("minigan.backends.precision", "minigan.backends.base", False, False),
        ("minigan.nn.optimizers", "minigan", False, False),
        ("minigan", "minigan.nn.network", False, True),
    ],
)
def test_the_rule_itself(source, target, lazy, allowed):
    assert (objection(Import(source, target, lazy, "")) is None) == allowed


def test_every_room_is_listed_and_there():
    assert {room(module) for module in sources()} - {""} == set(ROOMS)


def test_rooms_import_from_rooms_below_only():
    known = [e for e in own_imports() if {room(e.source), room(e.target)} <= {"", *ROOMS}]
    wrong = [f"{e.where}: {e.target}: {reason}" for e in known if (reason := objection(e))]
    assert not wrong, "\n" + "\n".join(wrong)


def test_imports_run_in_no_circle():
    """Late imports count: one inside a function hides a circle, it does not open it.

    Only the backends' `__init__` is left aside: to choose a backend when called is what it is there for.
    """
    edges: dict[str, set[str]] = {module: set() for module in sources()}
    for edge in own_imports():
        if edge.source != edge.target and edge.target in edges and edge.source != "minigan.backends":
            edges[edge.source].add(edge.target)
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> None:
        assert module not in path, "a circle: " + " -> ".join([*path[path.index(module) :], module])
        if module not in done:
            for target in sorted(edges[module]):
                visit(target, [*path, module])
            done.add(module)

    for module in edges:
        visit(module, [])


# ---------------------------------------------------------------------------------------- dependencies


def test_extras_are_imported_late_and_at_home():
    """numba under backends/cpu, cupy under backends/gpu, onnx under export, mpi4py under distributed.

    All but the first two inside a function.
    """
    wrong = []
    for edge in imports():
        library = edge.target.partition(".")[0]
        if library in sys.stdlib_module_names or library in CORE or library == "minigan":
            continue
        chooser = edge.source == "minigan.backends" and edge.lazy
        home = HOME.get(library, "")
        if home and not f"{edge.source}.".startswith(home + ".") and not chooser:
            wrong.append(f"{edge.where}: {library} is imported under {home} only")
        elif not edge.lazy and not home.startswith("minigan.backends"):
            wrong.append(f"{edge.where}: {library} is an extra: import it inside the function that needs it")
    assert not wrong, "\n" + "\n".join(wrong)


def test_nothing_is_pickled():
    wrong = [e.where for e in imports() if e.target.partition(".")[0] in ("pickle", "cloudpickle", "dill", "joblib")]
    for module, (_, tree) in sources().items():
        for node, _ in walk(tree):
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                allowed = not (isinstance(node.value, ast.Constant) and node.value.value is False)
                wrong += [place(module, node.value)] if allowed else []
    assert not wrong, f"pickle runs what a file says: {wrong}"


# ---------------------------------------------------------------------------------------- style


def test_there_are_no_asserts():
    wrong = [place(m, n) for m, (_, tree) in sources().items() for n, _ in walk(tree) if isinstance(n, ast.Assert)]
    assert not wrong, f"raise an error of minigan.errors instead: {wrong}"


# The functions with arbitrary keywords. One takes the settings of the recipe that it is given, `minigan.train("dcgan",
# width=16)`: each recipe has its own, and an unknown one is refused with a list of those that are known. One stands
# around any kernel, whose arguments it takes, and one around any of NumPy's functions. The last only chooses a class,
# whose `__init__` refuses others.
ARBITRARY_KEYWORDS = {
    ("minigan.runs.new_run", "train", "settings"),
    ("minigan.backends.cpu.bfloat16", "run", "settings"),
    ("minigan.backends.cpu.traced", "__array_ufunc__", "settings"),
    ("minigan.backends.cpu", "__new__", "_"),
}


def test_there_are_no_arbitrary_keywords():
    """`**kwargs` swallows a misspelled argument."""
    found = {
        (module, getattr(node, "name", "lambda"), node.args.kwarg.arg)
        for module, (_, tree) in sources().items()
        for node, _ in walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and node.args.kwarg
    }
    assert found == ARBITRARY_KEYWORDS, f"name the arguments: {found - ARBITRARY_KEYWORDS}"


def test_there_are_no_global_statements():
    wrong = [place(m, n) for m, (_, tree) in sources().items() for n, _ in walk(tree) if isinstance(n, ast.Global)]
    assert not wrong, f"no module-level mutable state: {wrong}"


# ---------------------------------------------------------------------------------------- signatures


def difference(own: object, base: object) -> str | None:
    """How an override's signature departs from its base's; new parameters need a default."""
    ours, theirs = (list(inspect.signature(f).parameters.values()) for f in (own, base))
    shared, more = ours[: len(theirs)], ours[len(theirs) :]
    for one, other in zip(shared, theirs, strict=False):
        # A network is a layer whose cache is its tape, and calls it so.
        if one.name == "tape" and other.name == "cache":
            one = one.replace(name="cache")
        if (one.name, one.kind, one.default) != (other.name, other.kind, other.default):
            return f"has {one!s} ({one.kind.description}), expected {other!s} ({other.kind.description})"
    if len(shared) < len(theirs):
        return f"lacks {', '.join(str(p) for p in theirs[len(shared) :])}"
    required = [p.name for p in more if p.default is p.empty]
    return f"requires more than its base: {required}" if required else None


def backends() -> list[type[Backend]]:
    found: list[type[Backend]] = [ReferenceBackend]
    if importlib.util.find_spec("numba"):
        found.append(importlib.import_module("minigan.backends.cpu").CpuBackend)
    return found


def test_backends_keep_the_contracts_parameters():
    wrong = [
        f"{backend.__name__}.{name} {problem}"
        for backend in backends()
        for name in (*KERNELS, "asarray", "to_numpy", "describe", "coverage")
        if (problem := difference(getattr(backend, name), getattr(Backend, name)))
    ]
    assert not wrong, "\n" + "\n".join(wrong)


def test_layers_keep_their_bases_parameters():
    base = importlib.import_module("minigan.nn.layers.base").Layer
    for found in pkgutil.walk_packages([str(ROOT / "nn")], prefix="minigan.nn."):
        importlib.import_module(found.name)
    wrong = []
    for layer in all_subclasses(base):
        if not layer.__module__.startswith("minigan."):
            continue
        for name, member in vars(layer).items():
            inherited = next((vars(c)[name] for c in layer.__mro__[1:] if name in vars(c)), None)
            if not name.startswith("_") and inspect.isfunction(member) and inspect.isfunction(inherited):
                problem = difference(member, inherited)
                wrong += [f"{layer.__module__}.{layer.__name__}.{name} {problem}"] if problem else []
    assert not wrong, "\n" + "\n".join(wrong)


def all_subclasses(base: type) -> list[type]:
    return [c for child in base.__subclasses__() for c in (child, *all_subclasses(child))]


# ---------------------------------------------------------------------------------------- what an import costs


def python(code: str) -> str:
    """Output of a fresh interpreter."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT.parent)}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout


@pytest.mark.parametrize("module", ["minigan", "minigan.cli.command_line"])
def test_importing_loads_no_extra(module):
    loaded = python(f"import {module}, sys; print(*[m for m in {EXTRAS!r} if m in sys.modules])").split()
    assert not loaded, f"import {module} loads {loaded}"


def test_importing_minigan_is_quick():
    """Under 0.2 s, or on a slow machine at most half as much again as NumPy alone.

    Processor time, and the best of several: other programs on the machine do not count.
    """

    def seconds(module: str) -> float:
        code = f"from time import process_time as t; a = t(); import {module}; print(t() - a)"
        return float(python(code))

    best = dict.fromkeys(("minigan", "numpy"), float("inf"))
    for _ in range(5):  # in turns, as a busy machine is slower at some times than at others
        best = {module: min(least, seconds(module)) for module, least in best.items()}
        if best["minigan"] < 0.2:
            return
    assert best["minigan"] < 1.5 * best["numpy"], f"import minigan takes {best['minigan']:.3f} s"
