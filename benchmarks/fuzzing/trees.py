"""Ways to damage what JSON holds: a value somewhere inside becomes another, a key goes, two values change places."""

import copy
import json
import random
from typing import Any

from benchmarks.fuzzing.mutations import EXTREMES, TOKENS, text_mutation

VALUES = (
    *(None, True, False, "", "x", "../x", "x" * 10_000, "π\0", [], {}, [[]], [1, 2, 3], {"a": 1}, *TOKENS[:4]),
    *(-1, 0.5, -0.0, 1e308, 1e-308, float("nan"), float("inf"), 10**30, 10**400, *EXTREMES),
)


def deep(depth: int = 3000) -> str:
    """An array in an array in an array ..."""
    return "[" * depth + "]" * depth


def changed(rng: random.Random, tree: Any) -> Any:
    """A copy in which one value is another, or one key is missing, new or another's."""
    tree = copy.deepcopy(tree)
    places = list(_places(tree))
    if not places:
        return rng.choice(VALUES)
    holder, key = rng.choice(places)
    kind = rng.randrange(8)
    if kind == 0:
        del holder[key]
    elif kind == 1:
        other, theirs = rng.choice(places)
        if other is holder or not (isinstance(holder[key], dict | list) or isinstance(other[theirs], dict | list)):
            holder[key], other[theirs] = other[theirs], holder[key]
    elif kind == 2 and isinstance(holder, dict):
        holder[rng.choice(("", "x", f"{key} ", str(key).upper()))] = holder.pop(key)
    elif kind == 3 and type(holder[key]) in (int, float) and holder[key] < 2**64:
        holder[key] = rng.choice((holder[key] + 1, holder[key] - 1, -holder[key], holder[key] * 2, holder[key] * 1000))
    else:
        holder[key] = rng.choice(VALUES)
    return tree


def _places(tree: Any) -> Any:
    """Each list or object with each of its keys."""
    keys = tree.keys() if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in keys:
        yield tree, key
        yield from _places(tree[key])


def json_mutation(rng: random.Random, data: bytes) -> bytes:
    """Damage to a JSON text: to what it means or, seldom, to how it is written."""
    if rng.random() < 0.2:
        return text_mutation(rng, data)
    try:
        tree = json.loads(data)
        for _ in range(rng.choice((1, 1, 2, 4))):
            tree = changed(rng, tree)
        text = json.dumps(tree)
    except (ValueError, RecursionError, OverflowError):  # already damaged
        return text_mutation(rng, data)
    if rng.random() < 0.02:
        text = text.replace("{}", deep(), 1)
    return text.encode("utf-8")
