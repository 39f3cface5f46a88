"""The figures of the course, made again from their runs.

    python docs/course/figures/make.py            # all of them: some minutes
    python docs/course/figures/make.py one-layer  # one

Each `figure_N.py` measures numbers and draws them. The numbers are kept next to the picture, as NAME.json, and a test
measures them again: all of them where that is quick, else the beginning of the training.
"""

import argparse
import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

FOLDER = Path(__file__).parent


def figures() -> dict[str, ModuleType]:
    """The modules of the figures, by the figure's name."""
    modules = [importlib.import_module(path.stem) for path in sorted(FOLDER.glob("figure_*.py"))]
    return {module.NAME: module for module in modules}


def rounded(value: Any) -> Any:
    """Numbers with six digits, in lists and dicts."""
    if isinstance(value, dict):
        return {str(name): rounded(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(part) for part in value]
    return value if isinstance(value, str | bool | int) else float(f"{float(value):.6g}")


def kept(name: str) -> dict[str, Any]:
    """The numbers of a figure, as they were measured."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


def make(module: ModuleType) -> None:
    numbers, pictures = module.measure()
    numbers = rounded(numbers)
    text = json.dumps(numbers, separators=(", ", ": "))
    (FOLDER / f"{module.NAME}.json").write_text(text.replace('], "', '],\n"') + "\n", encoding="utf-8")
    for name, picture in {**pictures, **module.draw(numbers)}.items():
        path = FOLDER / name
        path.write_bytes(picture.encode() if isinstance(picture, str) else picture)
        print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: {' '.join(figures())}")
    for name in parser.parse_args().names or figures():
        make(figures()[name])
