"""Runs notebooks with Jupyter, and stores the last picture of each: no other output.

    pip install nbclient ipykernel
    python notebooks/store_figure.py notebooks/*.ipynb

So a notebook shows its result before it is run, and a change of a sentence is a change of a line.
"""

import json
import sys
from pathlib import Path
from typing import Any

Cell = dict[str, Any]


def with_its_figure(notebook: dict[str, Any], executed: dict[str, Any]) -> dict[str, Any]:
    """The notebook without outputs, save the last PNG of the same notebook after it was executed."""
    figure = None
    for cell, done in zip(notebook["cells"], executed["cells"], strict=True):
        if cell["cell_type"] == "code":
            cell["execution_count"], cell["outputs"] = None, []
            pictures = [output for output in done["outputs"] if "image/png" in output.get("data", {})]
            figure = (cell, pictures[-1]) if pictures else figure
    if figure is not None:
        cell, output = figure
        cell["outputs"] = [{**output, "execution_count": None, "data": _shown(output["data"])}]
    return notebook


def _shown(data: dict[str, Any]) -> dict[str, Any]:
    return {kind: data[kind] for kind in ("image/png", "text/plain")}  # GitHub shows these


def main(paths: list[Path]) -> None:
    import nbclient
    import nbformat

    for path in paths:
        place = {"metadata": {"path": path.parent}}
        executed = nbclient.NotebookClient(nbformat.read(path, 4), resources=place).execute()
        notebook = with_its_figure(json.loads(path.read_text(encoding="utf-8")), executed)
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
