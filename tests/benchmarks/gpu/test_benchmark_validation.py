"""The calls of all kernels, and what compares them with the reference."""

import functools
import math
from dataclasses import replace

import cuda_on_cpu
import fake_cupy
import numpy as np
import pytest
from fake_device import LAYER, REFERENCE, TINY, Wrong

from benchmarks import gpu_calls, gpu_kernels, gpu_part, gpu_validate
from benchmarks.gpu_calls import call, calls
from benchmarks.gpu_device import Device
from minigan.backends.base import KERNELS
from minigan.cli.measurements import PAPER


def test_every_kernel_has_a_call():
    assert set(gpu_calls.SIGNATURES) == set(KERNELS)
    assert [made.kernel for made in calls(TINY)] == list(KERNELS)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_call_is_the_same_each_time_and_runs_in_both_dtypes(kernel):
    single, double = (call(kernel, TINY).results(REFERENCE, dtype) for dtype in (np.float32, np.float64))
    for one, other in zip(single, double, strict=True):
        assert (one.dtype, other.dtype) == (np.float32, np.float64)
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_bytes_are_those_of_every_array_once_and_of_the_changed_ones_twice():
    x, w, y = (4 * math.prod(TINY.shape(name)) for name in "xwy")
    assert call("conv2d", TINY).moved(y) == x + w + 4 * 16 + y
    assert call("conv2d_weight_grad", TINY).moved(0) == x + y + 2 * w
    assert call("leaky_relu_grad", TINY).moved(x) == 3 * x
    assert call("adam_step", TINY).moved(0) == 7 * 4 * 33
    assert call("clip_value", TINY).moved(0) == 2 * 4 * 33
    assert gpu_kernels.returned_bytes((np.zeros(3), None, np.zeros(2, np.float32))) == 32
    assert gpu_kernels.returned_bytes(None) == 0


def test_representable_numbers_have_the_mantissa_of_bfloat16():
    made = call("conv2d", TINY, representable=True)
    for array in made.arguments[:3]:
        assert not (array.view(np.uint32) & 0xFFFF).any()
        assert array.std() > 0.5


def test_no_activation_is_left_near_its_kink():
    sizes = TINY._replace(images=500)
    _, x, gamma, beta, mean, var = call("batchnorm_leaky_relu_grad", sizes).arguments
    drawn = call("batchnorm_grad", sizes).arguments[1]
    y = REFERENCE.batchnorm_frozen(*(a.astype(np.float64) for a in (x, gamma, beta, mean, var)), eps=1e-5)
    assert np.abs(y).min() > 5e-4
    assert 0 < (x != drawn).mean() < 0.01


def validated(monkeypatch, engines, precisions=("tf32", "bf16", "fp32"), oracle=None):
    """All records, at one odd and one other size."""
    monkeypatch.setattr(gpu_validate, "ODD", (TINY._replace(name="odd"),))
    monkeypatch.setattr(gpu_validate, "ODD_GROUPS", {"odd, in groups": replace(TINY.geometry, groups=16)})
    monkeypatch.setattr(gpu_validate, "timed", lambda: TINY._replace(name="timed"))
    monkeypatch.setattr(gpu_validate, "layers", lambda: [LAYER])
    items = gpu_validate.items(engines, precisions, oracle=oracle)
    return [record for _, run in items for record in run()]


@pytest.mark.exhaustive
@pytest.mark.skipif(cuda_on_cpu.COMPILER is None, reason="no C++ compiler")
def test_the_kernels_of_the_gpu_are_right(monkeypatch):
    with fake_cupy.installed() as cupy:
        device = Device(cupy)
        rows = validated(monkeypatch, functools.cache(device.backend), oracle=device.oracle())
    assert not [row for row in rows if not row["right"]]
    assert len(rows) == 3 * (2 * len(KERNELS) + 3 + 4)
    rounded = {row["precision"]: row["error"] for row in rows if (row["kernel"], row["sizes"]) == ("conv2d", "timed")}
    assert 2e-4 < rounded["bf16"] < 2**-6
    assert 1e-5 < rounded["tf32"] < 2**-9
    assert rounded["fp32"] < 1e-6
    exact = [row["error"] for row in rows if row["kernel"] in gpu_validate.PRODUCTS and row["sizes"] == "odd"]
    assert max(exact) < 1e-6


def test_a_wrong_kernel_is_told(monkeypatch):
    monkeypatch.setattr(gpu_validate, "ODD", (TINY._replace(name="odd"),))
    monkeypatch.setattr(gpu_validate, "ODD_GROUPS", {})
    found = [gpu_part.finding(item) for item in gpu_validate.items(lambda _: Wrong(), ["bf16"]) if "odd" in item[0]]
    wrong = {record["kernel"]: record["error"] for one in found for record in one.records if not record["right"]}
    assert set(wrong) == {"conv2d_input_grad", "adam_step", "tanh", "sigmoid"}
    assert wrong["adam_step"] == pytest.approx(1e-3, rel=0.1)
    assert wrong["tanh"] is wrong["sigmoid"] is None
    assert [(one.item, one.error) for one in found if one.error] == [("maxout, odd", "RuntimeError: no such kernel")]


def test_tolerances():
    assert gpu_validate.tolerance("conv2d", "bf16", odd=True) == gpu_validate.tolerance("tanh", "fp32", odd=True)
    assert gpu_validate.tolerance("conv2d", "bf16", odd=False) == pytest.approx(2**-6 + 1e-4)
    assert gpu_validate.tolerance("tanh", "bf16", odd=False) == 1e-4


def test_the_layers_that_are_timed_are_those_of_the_networks():
    """Every convolution of the paper's DCGAN, and of pix2pix each kind but the repeated and the innermost ones."""
    for name, recipe, size in (("dcgan64", PAPER, 64), ("dcgan128", PAPER, 128)):
        timed = {layer.geometry for layer in gpu_validate.layers() if layer.group == name}
        shape = (size, size, 3)
        for network, source in (
            (recipe.generator(shape), recipe.source_shape(shape)),
            (recipe.discriminator(shape), shape),
        ):
            network.build(source, rng=np.random.default_rng(0), backend="reference")
            geometries = [layer.geometry for layer in network.layers if hasattr(layer, "geometry")]
            assert set(geometries) <= timed
    assert {layer.batch for layer in gpu_validate.layers()} == {1, 128}
