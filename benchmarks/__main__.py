"""Lists the benchmarks."""

import argparse
import ast
from collections.abc import Iterator
from pathlib import Path


def benchmarks() -> Iterator[tuple[str, str, str]]:
    """Each one's name, what it measures, and an example, from its docstring; nothing is imported."""
    for path in sorted(Path(__file__).parent.glob("*.py")):
        lines = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").splitlines()
        examples = [line.strip() for line in lines if line.startswith(f"    python -m benchmarks.{path.stem}")]
        if examples:
            yield path.stem, lines[0], examples[0]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.parse_args(arguments)
    for name, summary, example in benchmarks():
        print(f"{name:12}{summary}\n{'':12}{example}\n")
    print("Run them from the root of a checkout; --help explains each, and lists the peers to compare with.")


if __name__ == "__main__":
    main()
