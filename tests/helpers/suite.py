"""How pytest runs the suite: in several processes with a thread each, and with few lines of output."""

import gc
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter

# A process takes up to a gigabyte.
MOST_PROCESSES = 8
# With as many threads as CPUs in each process they would wait for each other, above all those of NumPy's BLAS.
THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS")
DOTS = 1500  # of the whole suite: some twenty lines


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Number of processes by `-n auto`: one for each CPU, none besides this one where that is as quick or is looked at.

    One file is through before a second process has begun; with `-s` or `--trace` the terminal is the test's; there is
    one GPU.
    """
    options = config.option
    files = any(Path(argument.partition("::")[0]).is_file() for argument in config.args)
    if files or options.capture == "no" or options.trace or options.markexpr == "gpu":
        return 0
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST_PROCESSES, cpus) if cpus > 1 else 0


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """Before the processes start, which inherit it."""
    for name in THREADS:
        os.environ.setdefault(name, "1")


def pytest_collection_finish() -> None:
    """Modules and tests are all there now and stay: Python need not search them again and again for cycles.

    Few cycles that tests leave behind hold much; looking for them at every 700th object was a twelfth of the time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """A line for each reason to skip, as one library that is not installed skips tests in dozens of files.

    With `-rs` pytest lists each place.
    """
    skipped = terminalreporter.stats.get("skipped", ())
    if "s" not in terminalreporter.reportchars:
        for reason, count in Counter(report.longrepr[2] for report in skipped).most_common():
            terminalreporter.write_line(f"SKIPPED [{count}] {reason.removeprefix('Skipped: ')}")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Dots(), "dots")


@pytest.hookimpl(wrapper=True, tryfirst=True)  # marked before those that are not wanted are left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Marks what repeats others, and sets in front what compiles.

    Of two processes the second starts in the middle: if it began with kernels too, both would compile the same ones.
    """
    for item in items:
        if repeats(item):
            item.add_marker(pytest.mark.exhaustive)
    yield
    items.sort(key=lambda item: engine_of(item) != "cpu" and "cpu" not in item.path.parts)


def engine_of(item: pytest.Item) -> str:
    """The backend that a test is given; "" for others."""
    given = getattr(getattr(item, "callspec", None), "params", {})
    return next((str(given[name]) for name in ("backend", "host_backend", "fast_backend") if name in given), "")


# Whole networks against finite differences; those of every layer are quick on every engine.
NETWORKS = ("test_whole_networks_pass_the_gradient_check", "test_recipes")
# Where a number comes from, and where it goes to, is the same source in both precisions.
PROMISES = ("test_the_same_inputs_give_the_same_bits", "test_the_same_step_gives_the_same_bits")
PROMISES += ("test_a_result_outlives_later_calls", "test_every_kernel_takes_every_layout")
PROMISES += ("test_every_kernel_takes_read_only_arrays",)

# How a layer hands gradients, shapes and batches on is the same source on every engine; its kernels have tests of their
# own, of sums that they add to, of layouts and of float32.
RULES = ("test_without_dx_the_parameter_gradients_are_the_same", "test_frozen_computes_the_same_dx")
RULES += ("test_gradients_accumulate", "test_double_backward_accumulates", "test_shapes_and_names_are_inferred")
RULES += ("test_views_that_are_not_contiguous_are_read_right", "test_float32_follows_float64")
RULES += ("test_an_example_alone_in_eval_mode_gets_what_it_gets_in_a_batch",)
RULES += ("test_a_separable_layer_does_to_two_batches_what_it_does_to_one_of_both",)

# Runs that go on where they were interrupted: what is saved does not depend on the engine.
RESUMED = ("test_an_interrupted_run_continues_with_the_same_bits", "test_so_does_the_average_of_the_weights")
RESUMED += ("test_so_it_does_with_every_optimizer_and_schedule_and_a_pool",)


def repeats(item: pytest.Item) -> bool:
    """Whether a test on a compiled engine only does once more what a quick one has shown.

    Compiled code is quick to compute and slow to compile, or on a stand-in the other way round.
    """
    engine = engine_of(item)
    if engine not in ("cpu", "gpu on the CPU"):
        return False
    given = item.callspec.params
    name = getattr(item, "originalname", None)
    if name in NETWORKS:
        return bool(given.get("name") != "dcgan")
    if name in PROMISES:
        return str(given.get("dtype")) == "float64"
    if name in RULES:
        return True
    if name in RESUMED:
        return bool(given.get("stop_at") != 5)
    # A layer's two modes differ in what it calls, and its kernels are tested on their own.
    return engine == "gpu on the CPU" and given.get("train") is False


class Dots:
    """A dot for several tests that passed, where there are thousands: a letter for each is 170 lines."""

    def __init__(self) -> None:
        self._session: pytest.Session
        self._passed = 0

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        self._session = session

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        if report.when != "call" or not report.passed or hasattr(report, "wasxfail"):
            return None
        self._passed += 1
        together = max(1, self._session.testscollected // DOTS)
        return "passed", "." * (self._passed % together == 0), "PASSED"
