"""The results of the GPU benchmark as short Markdown tables."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from benchmarks.gpu_targets import Target, unique

Record = Mapping[str, Any]
MIB = 2**20
SHOWN = 20  # failures and wrong kernels at most


def report(document: Mapping[str, Any], targets: Iterable[Target]) -> Iterator[str]:
    """Line by line."""
    setting = document["setting"]
    yield f"## {setting['card']}, {document['date']}"
    yield ""
    yield ", ".join(f"{name} {value}" for name, value in setting.items() if name != "card")
    sections = {"validate": validated, "tests": tested, "kernels": kernel_table, "steps": step_table}
    for name, lines in sections.items():
        if name in document:
            yield ""
            yield from lines(document)
    if document["failures"]:
        yield ""
        yield from failed(document)
    yield ""
    yield "### Targets"
    yield ""
    yield from (f"- {target}" for target in targets)


def validated(document: Record) -> Iterator[str]:
    rows = document["validate"]
    wrong = [row for row in rows if not row["right"]]
    yield f"### Kernels against the reference: {len(rows)} comparisons, {len(wrong)} wrong"
    yield ""
    for precision in unique(row["precision"] for row in rows):
        for odd in (True, False):
            chosen = [row for row in rows if row["precision"] == precision and row["sizes"].startswith("odd") == odd]
            found = [row for row in chosen if row["error"] is not None]
            if found:
                worst = max(found, key=lambda row: row["error"] / row["tolerance"])
                kind = "odd sizes, exact products" if odd else "the sizes that are timed"
                yield (
                    f"- {precision}, {kind}: {len(chosen)} comparisons, the largest share of its tolerance has "
                    f"{worst['kernel']}: {number(worst['error'])} of {number(worst['tolerance'])}"
                )
    for row in wrong[:SHOWN]:
        yield f"- WRONG: {row['kernel']}, {row['sizes']}, {row['precision']}: {number(row['error']) or 'not finite'}"


def tested(document: Record) -> Iterator[str]:
    tests = document["tests"]
    yield f"### GPU tests: {tests['passed']} passed, {tests['failed']} failed"
    yield ""
    yield tests["summary"] if tests["complete"] else f"not complete: {tests['summary']}"
    for line in tests["failures"][:SHOWN]:
        yield f"- {line}"


def kernel_table(document: Record) -> Iterator[str]:
    yield "### Kernels"
    yield ""
    for precision, limits in document.get("limits", {}).items():
        rate = limits["multiply_adds"]
        products = f"{rate / 1e3:,.0f} TFLOP/s of cuBLAS's products, " if rate else ""
        yield f"- measured limits, {precision}: {products}{limits['bandwidth']:,.0f} GB/s of copies"
    yield ""
    yield from table(
        ("sizes", "kernel", "precision", "algorithm", "µs", "of the limit", "by", "PyTorch µs", "ratio"),
        (
            (
                row["sizes"], row["kernel"], row["precision"], row.get("algorithm"), 1e6 * row["seconds_median"],
                percent(row["share_of_limit"]), row["bound_by"], micro(row.get("peer_seconds_median")),
                row.get("ratio") or row.get("peer_error"),
            )
            for row in document["kernels"]
        ),
    )  # fmt: skip


def step_table(document: Record) -> Iterator[str]:
    yield "### Training steps"
    yield ""
    rows = document["steps"]
    peers = {key(row): 0.0 for row in rows}
    for row in rows:
        if row["engine"] == "torch":
            peers[key(row)] = max(peers[key(row)], row["images_per_second"])
    yield from table(
        ("workload", "precision", "engine", "images/s", "ms", "of PyTorch's best", "MiB used", "MiB taken"),
        (
            (
                row["workload"], row["precision"], f"{row['engine']} {row['configuration']}", row["images_per_second"],
                1e3 * row["seconds_median"], row["images_per_second"] / peers[key(row)] if peers[key(row)] else None,
                row["memory_used"] / MIB, row["memory_taken"] / MIB,
            )
            for row in rows
        ),
    )  # fmt: skip


def failed(document: Record) -> Iterator[str]:
    failures = document["failures"]
    yield f"### What did not work: {len(failures)}"
    yield ""
    for row in failures[:SHOWN]:
        yield f"- {row['part']}: {row['item']}: {row['error']}"


def table(title: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(title)} |"
    yield "|---" * len(title) + "|"
    for row in rows:
        yield f"| {' | '.join(number(value) for value in row)} |"


def number(value: Any) -> str:
    """Three digits or more; words as they are, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value.replace("|", "/")
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.0%}"


def micro(seconds: float | None) -> float | None:
    return None if seconds is None else 1e6 * seconds


def key(row: Record) -> tuple[str, str]:
    return row["workload"], row["precision"]
