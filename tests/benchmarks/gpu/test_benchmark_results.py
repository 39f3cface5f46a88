"""Which targets a run has met, and the tables."""

import pytest

from benchmarks.gpu_report import number, report
from benchmarks.gpu_targets import targets


def step(engine, configuration, speed, memory, workload="dcgan64"):
    return {
        "workload": workload, "precision": "tf32", "batch": 128, "engine": engine, "configuration": configuration,
        "seconds_min": 1.0, "seconds_median": 1.0, "images_per_second": speed, "memory_used": memory,
        "memory_taken": memory,
    }  # fmt: skip


CHECK = {"kernel": "conv2d", "sizes": "odd", "precision": "tf32", "error": 1e-7, "tolerance": 1e-5, "right": True}
TESTED = {"complete": True, "passed": 3, "failed": 0, "summary": "3 passed in 1s", "failures": []}
CONVOLUTION = {
    "kernel": "conv2d", "sizes": "dcgan64 64-128@32", "precision": "tf32", "algorithm": "128x128", "seconds_min": 1e-4,
    "seconds_median": 1e-4, "share_of_limit": 0.5, "bound_by": "products", "peer_seconds_median": 8e-5, "ratio": 0.8,
}  # fmt: skip
STEPS = [
    step("minigan", "eager", 500, 80 << 20),
    step("minigan", "graph", 1500, 90 << 20),
    step("torch", "eager", 400, 100 << 20),
    step("torch", "channels_last compile graph", 1600, 120 << 20),
    step("minigan", "eager", 7, 10, "pix2pix, batch 1"),
]
DOCUMENT = {
    "date": "2026-01-01", "setting": {"card": "Card", "torch": "2"}, "failures": [], "validate": [CHECK],
    "tests": TESTED, "limits": {"tf32": {"multiply_adds": 4e5, "bandwidth": 3000.0}}, "kernels": [CONVOLUTION],
    "steps": STEPS,
}  # fmt: skip


def verdicts(document):
    return {target.claim.partition(" (")[0]: (target.met, target.found) for target in targets(document)}


def test_targets_met_and_missed():
    assert verdicts(DOCUMENT) == {
        "kernels that differ from the reference": (True, 0),
        "GPU tests that fail": (True, 0),
        "slowest convolution kernel tf32, of cuDNN's speed": (True, 0.8),
        "dcgan64 tf32, of PyTorch's best speed": (False, 1500 / 1600),
        "dcgan64 tf32, of PyTorch's eager speed": (True, 3.75),
        "dcgan64 tf32, memory, of PyTorch's least": (True, 0.8),
        "pix2pix, batch 1 tf32, memory, of PyTorch's least": (None, None),
    }


def test_nothing_measured_is_no_target_met():
    assert {target.met for target in targets({"failures": []})} == {None}


def failing(part, *, cut_off):
    return {**DOCUMENT, "failures": [{"part": part, "item": "tanh, odd", "error": "no", "cut_off": cut_off}]}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({**DOCUMENT, "validate": [CHECK, CHECK | {"right": False}]}, (False, 1)),
        (failing("validate", cut_off=False), (False, 1)),
        (failing("validate", cut_off=True), (None, None)),
        (failing("steps/dcgan64/tf32/torch", cut_off=False), (True, 0)),
    ],
)
def test_a_check_that_was_cut_off_proves_nothing(document, expected):
    assert verdicts(document)["kernels that differ from the reference"] == expected


@pytest.mark.parametrize(
    ("changed", "expected"),
    [({"failed": 2}, (False, 2)), ({"complete": False}, (None, None)), ({"failed": 1, "complete": False}, (False, 1))],
)
def test_tests_that_were_cut_off_prove_nothing(changed, expected):
    assert verdicts({**DOCUMENT, "tests": TESTED | changed})["GPU tests that fail"] == expected


def test_the_tables():
    broken = CHECK | {"kernel": "tanh", "right": False, "error": None}
    document = {**failing("kernels/tf32", cut_off=False), "validate": [CHECK, broken]}
    lines = list(report(document, targets(document)))
    assert "| dcgan64 64-128@32 | conv2d | tf32 | 128x128 | 100 | 50% | products | 80 | 0.8 |" in lines
    assert "| dcgan64 | tf32 | minigan graph | 1,500 | 1,000 | 0.938 | 90 | 90 |" in lines
    assert "### Kernels against the reference: 2 comparisons, 1 wrong" in lines
    assert "- WRONG: tanh, odd, tf32: not finite" in lines
    assert "- kernels/tf32: tanh, odd: no" in lines
    assert "- measured limits, tf32: 400 TFLOP/s of cuBLAS's products, 3,000 GB/s of copies" in lines
    assert "- MISSED: dcgan64 tf32, of PyTorch's best speed (at least 1): 0.938" in lines
    assert "- not measured: pix2pix, batch 1 tf32, memory, of PyTorch's least (at most 1)" in lines
    tables = [line.count("|") for line in lines if line.startswith("|")]
    assert set(tables) == {9, 10}
    assert number("a|b") == "a/b"
