"""How the suite itself is run: processes, and lines of dots."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from suite import MOST_PROCESSES, Dots, pytest_terminal_summary, pytest_xdist_auto_num_workers


def automatic(arguments, **options):
    options = SimpleNamespace(**({"capture": "fd", "trace": False, "markexpr": "not exhaustive"} | options))
    return pytest_xdist_auto_num_workers(SimpleNamespace(args=arguments, option=options))


def test_a_folder_takes_processes_and_a_file_none(tmp_path, monkeypatch):
    (tmp_path / "test_one.py").touch()
    for cpus, processes in ((1, 0), (2, 2), (64, MOST_PROCESSES)):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, cpus=cpus: range(cpus), raising=False)
        assert automatic([str(tmp_path)]) == processes
    assert automatic([str(tmp_path / "test_one.py")]) == 0
    assert automatic([f"{tmp_path / 'test_one.py'}::test_it[1]"]) == 0


def test_who_looks_inside_gets_no_processes(tmp_path):
    assert automatic([str(tmp_path)], capture="no") == 0
    assert automatic([str(tmp_path)], trace=True) == 0


def test_one_process_has_the_gpu(tmp_path):
    assert automatic([str(tmp_path)], markexpr="gpu") == 0


def test_a_process_starts_no_others(request):
    """A process reads the same settings once more, `-n auto` among them."""
    if hasattr(request.config, "workerinput"):
        assert not request.config.pluginmanager.hasplugin("dsession")


@pytest.mark.parametrize(("collected", "letters"), [(7, 7), (12_000, 1500)])
def test_many_tests_share_a_dot(collected, letters):
    dots = Dots()
    dots.pytest_sessionstart(SimpleNamespace(testscollected=collected))
    passed = SimpleNamespace(when="call", passed=True)
    shown = [dots.pytest_report_teststatus(passed) for _ in range(collected)]
    assert "".join(letter for _, letter, _ in shown) == "." * letters
    assert {(category, word) for category, _, word in shown} == {("passed", "PASSED")}


@pytest.mark.parametrize(
    "report",
    [
        SimpleNamespace(when="call", passed=False),
        SimpleNamespace(when="setup", passed=True),
        SimpleNamespace(when="call", passed=True, wasxfail="expected"),
    ],
)
def test_whatever_else_happens_has_its_own_letter(report):
    assert Dots().pytest_report_teststatus(report) is None


@pytest.mark.parametrize(("letters", "shown"), [("fE", ["SKIPPED [2] no torch", "SKIPPED [1] no GPU"]), ("fEs", [])])
def test_skipped_tests_are_counted_by_their_reason(letters, shown):
    """Unless pytest lists them one by one."""
    skipped = [
        SimpleNamespace(longrepr=("file.py", line, f"Skipped: {reason}"))
        for line, reason in enumerate(("no GPU", "no torch", "no torch"))
    ]
    lines = []
    reporter = SimpleNamespace(stats={"skipped": skipped}, reportchars=letters, write_line=lines.append)
    pytest_terminal_summary(reporter)
    assert lines == shown


def test_no_two_files_have_one_name():
    """Pytest imports test files by their name alone."""
    names = Counter(path.name for path in Path(__file__).parents[1].rglob("test_*.py"))
    assert {name for name, count in names.items() if count > 1} == set()
