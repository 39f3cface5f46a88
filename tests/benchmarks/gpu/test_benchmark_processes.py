"""Parts in processes of their own, which may end early; and the tests as one of them."""

import json
import re
import sys
import time

from fake_device import FakeDevice

from benchmarks import gpu_part
from benchmarks.gpu_part import followed
from benchmarks.gpu_tests import COMMAND, gpu_tests, summary


def script(*lines):
    """The command of a process that tells three items, by a program given line by line."""
    program = "\n".join(
        [
            "import json, os, sys, time",
            "start = int(sys.argv[1])",
            "line = lambda index: json.dumps([index, [str(index), [], None, False]])",
            f"tell = lambda index: print({gpu_part.MARK!r} + line(index), flush=True)",
            *lines,
        ]
    )
    return lambda start: [sys.executable, "-c", program, str(start)]


def names(command, seconds=60.0):
    return [(finding.item, finding.error) for finding in followed(command, until=time.monotonic() + seconds)]


def test_items_are_followed_to_the_end():
    assert names(script("print('noise')", "[tell(index) for index in range(3)]")) == [(i, None) for i in "012"]


def test_what_follows_a_lost_device_goes_on_in_another_process():
    lost = script("tell(start)", f"sys.exit({gpu_part.LOST} if start < 2 else 0)")
    assert names(lost) == [(i, None) for i in "012"]


def test_an_item_that_ends_its_process_is_told_and_passed_over():
    crash = script("if start == 0: tell(0)", "if start <= 1: sys.exit('what a crash')", "tell(2)")
    assert names(crash) == [("0", None), ("item 1", "the process ended with 1: what a crash"), ("2", None)]


def test_a_part_that_only_crashes_is_given_up():
    *crashes, last = names(script("os._exit(7)"))
    assert len(crashes) == gpu_part.MOST_CRASHES
    assert last == ("item 5 and what follows", "5 processes have ended early")


def test_a_part_ends_when_its_time_is_up():
    began = time.monotonic()
    assert names(script("tell(0)", "time.sleep(60)"), seconds=1.0)[-1] == ("item 1 and what follows", "the time was up")
    assert time.monotonic() - began < 30


def test_what_the_process_has_begun_ends_with_it():
    """A compiler at work would keep the output open, and its reader waiting."""
    began = time.monotonic()
    two_processes = script("import subprocess", "subprocess.Popen(['sleep', '60'])", "tell(0)", "time.sleep(60)")
    assert len(names(two_processes, seconds=1.0)) == 2
    assert time.monotonic() - began < 30


def test_the_process_tells_until_the_device_is_lost(capsys):
    device = FakeDevice()

    def goes_astray():
        yield {"before": 1}
        device.lost = True
        raise RuntimeError("an illegal\nmemory access")

    items = [("left out", None), ("fine", lambda: [{"found": 2}]), ("bad", goes_astray), ("never", None)]
    assert gpu_part.tell(items, device, start=1) == gpu_part.LOST
    lines = [json.loads(line.removeprefix(gpu_part.MARK)) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        [1, ["fine", [{"found": 2}], None, False]],
        [2, ["bad", [{"before": 1}], "RuntimeError: an illegal memory access", False]],
    ]


def test_pytests_last_line_is_read():
    output = "..F.\n= short test summary info =\nFAILED tests/a.py::b - no\n1 failed, 12 passed, 3 skipped in 4.56s\n"
    found = summary(output, complete=True)
    assert found == {
        "complete": True,
        "passed": 12,
        "failed": 1,
        "summary": "1 failed, 12 passed, 3 skipped in 4.56s",
        "failures": ["FAILED tests/a.py::b - no"],
    }
    assert summary("2 passed, 3 errors in 1s", complete=True)["failed"] == 3
    assert not summary("3 skipped in 1s", complete=True)["complete"]
    assert not summary("", complete=True)["complete"]


def test_tests_that_are_cut_off_are_counted_by_their_dots():
    program = "import time; print('..s.FE..  [ 10%]'); print('...', flush=True); time.sleep(60)"
    found = gpu_tests(until=time.monotonic() + 1.5, command=(sys.executable, "-c", program))
    assert (found["complete"], found["passed"], found["failed"]) == (False, 8, 2)


def test_pytest_is_told_to_run_the_gpu_tests_alone():
    """The last line is there, whatever options the project gives: with a file that has none of them."""
    found = gpu_tests(until=time.monotonic() + 60, command=(*COMMAND, "tests/backends/test_geometry.py"))
    assert re.match(r"\d+ deselected in ", found["summary"])
    assert (found["complete"], found["passed"]) == (False, 0)
