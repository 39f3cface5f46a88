"""How pytest runs the suite: in several processes with a thread each, and with few lines of output."""

import gc
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter

from minigan.nn import gradcheck

# A process takes up to a gigabyte.
MOST_PROCESSES = 8
# With as many threads as CPUs in each process they would wait for each other, above all those of NumPy's BLAS.
THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS")
# Small arrays are checked along every axis in the exhaustive tests, which have all layers; in others larger ones than
# these along a few directions that mix all axes, as large arrays always are. That was half of a check's time.
FEW_AXES = 8
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
    gc.set_threshold(20_000, 20, 1000)
    put_aside()


@pytest.hookimpl(trylast=True)  # when fixtures are torn down
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Between two files: what a file leaves behind, such as compiled code, stays, too."""
    if nextitem is not None and nextitem.path != item.path:
        put_aside()


def put_aside() -> None:
    """Has Python look for cycles among the objects of the last file, and never again among those that are left."""
    gc.collect()
    gc.freeze()


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
    if config.option.markexpr == "not exhaustive":
        gradcheck.EVERY_AXIS = FEW_AXES


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


# Whole networks against finite differences; those of every layer are quick on the reference.
NETWORKS = ("test_whole_networks_pass_the_gradient_check", "test_recipes")

# How something is derived: by finite differences, by PyTorch or by ONNX's cases, most in double precision. All engines
# share that source; of compiled ones each kernel and each layer is compared with the reference, in single precision.
DERIVED = (  # files
    "test_condition",
    "test_gradient_penalties",
    "test_layer_gradients",
    "test_layer_penalties",
    "test_modulation",
    "test_onnx_nodes",
    "test_residual_blocks",
    "test_step_gradients",
    "test_styled",
    "test_synthesis",
    "test_torch_layers",
    "test_torch_modulation",
    "test_torch_r3gan",
    "test_variational",
)
# How a layer hands gradients, shapes and batches on, likewise: kernels have tests of their own, of inputs that stay, of
# results that outlive other calls, of sums that they add to, of layouts and of dtypes.
RULES = (
    "test_a_constant_image_stays_inside",
    "test_a_separable_layer_does_to_two_batches_what_it_does_to_one_of_both",
    "test_a_whole_step_s_gradients",
    "test_add_to_accumulates_in_the_given_array",
    "test_an_example_alone_in_eval_mode_gets_what_it_gets_in_a_batch",
    "test_backward_changes_only_its_destination",
    "test_backward_is_the_adjoint_and_double_backward_the_map_itself",
    "test_conv2d_is_linear_in_the_batch",
    "test_conv_kernels_agree_with_pytorch",
    "test_double_backward_accumulates",
    "test_each_is_the_other_transposed",
    "test_float32_follows_float64",
    "test_forward_is_pure",
    "test_frozen_computes_the_same_dx",
    "test_gradients_accumulate",
    "test_input_grad_is_the_adjoint_in_x_and_weight_grad_in_w",
    "test_losses_and_all_gradients_are_those_of_autograd",
    "test_one_group_of_one_example_is_batch_normalization_of_its_numbers",
    "test_outputs_and_gradients_are_pytorchs",
    "test_shapes_and_names_are_inferred",
    "test_sigma_becomes_the_largest_singular_value",
    "test_statistics_change_when_committed_and_only_then",
    "test_the_dtype_stays",
    "test_transposed_convolution_agrees_with_pytorch",
    "test_two_live_tapes",
    "test_two_live_tapes_do_not_disturb_each_other",
    "test_views_that_are_not_contiguous_are_read_right",
    "test_with_p_0_and_in_evaluation_nothing_changes",
    "test_without_dx_the_parameter_gradients_are_the_same",
)
# What a network learns within some dozens of steps, and batches for many threads: slow on the stand-in, and of NumPy's
# rules alone. Of recipes two take their steps there.
LEARNS = (
    "test_a_full_batch_agrees_and_gives_the_same_bits_again",
    "test_a_gan_learns",
    "test_a_weight_of_an_auxiliary_term_counts",
    "test_it_learns",
)
STEPPED = ("dcgan", "mlp")

# On the reference these compare it with itself, or rounding errors of which its float64 has none.
OF_OTHERS = ("test_every_backend_computes_what_the_reference_does", "test_losses_in_float32")

# Runs that go on where they were interrupted: what is saved does not depend on the engine.
RESUMED = ("test_an_interrupted_run_continues_with_the_same_bits", "test_so_does_the_average_of_the_weights")
RESUMED += ("test_so_it_does_with_every_optimizer_and_schedule_and_a_pool",)


def repeats(item: pytest.Item) -> bool:
    """Whether a test on a compiled engine only does once more what a quick one has shown.

    Compiled code is quick to compute and slow to compile, or on a stand-in the other way round.
    """
    engine, name = engine_of(item), getattr(item, "originalname", None)
    if engine == "reference" and name in OF_OTHERS:
        return True
    if engine not in ("cpu", "gpu on the CPU"):
        return False
    given = item.callspec.params
    if name in NETWORKS:
        return bool(given.get("name") != "dcgan")
    if str(given.get("dtype")) == "float64":  # the same source as in float32, compiled once more
        return True
    if name in RULES or item.path.stem in DERIVED:
        return True
    if name in RESUMED:
        return bool(given.get("stop_at") != 5)
    if engine == "cpu":
        return False
    # A layer's two modes differ in what it calls, and its kernels are tested on their own.
    return name in LEARNS or given.get("train") is False or getattr(given.get("recipe"), "name", "dcgan") not in STEPPED


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
