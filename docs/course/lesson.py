"""The Python of a lesson as one file, to be run and changed.

python docs/course/lesson.py 2     # writes lesson-2.py
python -i lesson-2.py              # runs it, and leaves a prompt with its names
"""

import argparse
import re
import sys
from pathlib import Path

COURSE = Path(__file__).parent
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def python_of(number: int) -> str:
    """The blocks of a lesson in their order, without the solution of its exercise."""
    (page,) = (path for path in COURSE.glob(f"{number:02}-*.md") if "." not in path.stem)
    lesson = page.read_text(encoding="utf-8").partition("## Exercise")[0]
    return "\n".join([f"# The Python of {page.name}.\n", *BLOCK.findall(lesson)])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("lesson", type=int, choices=range(1, 9), help="its number")
    options = parser.parse_args(arguments)
    path = Path(f"lesson-{options.lesson}.py")
    if path.exists():
        parser.error(f"{path} is there already, perhaps with changes of yours. Move it away first.")
    path.write_text(python_of(options.lesson), encoding="utf-8")
    print(f"{path}: run it with python -i {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
