"""Kernels on the GPU: their times, as a share of the card's limits, and compared with PyTorch's with cuDNN.

What the card allows is measured first: a copy from one large array to another, and cuBLAS's large matrix product in
the same precision. A kernel's least time is that of its operations or of its bytes at these rates, whichever is longer.
"""

import math
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import Any

import numpy as np

from benchmarks import kernels
from benchmarks.gpu_calls import Call, call
from benchmarks.gpu_device import Device, Times, has_torch
from benchmarks.gpu_validate import Item, Record, layers, timed
from minigan.inspection.limits import Limits

COPIED = 1 << 30  # bytes, many times any L2
PRODUCT = 8192  # rows and columns of the matrices
SECONDS = 0.05  # about, of one kernel's calls

MEMORY_BOUND = (
    *("batchnorm", "batchnorm_grad", "batchnorm_leaky_relu", "batchnorm_leaky_relu_grad", "group_norm"),
    *("group_norm_grad", "leaky_relu", "leaky_relu_grad", "tanh", "tanh_grad", "channel_sum", "upsample_nearest"),
    *("scale_channels", "scale_channels_grad", "noise_leaky_relu", "noise_leaky_relu_grad", "adam_step", "ema_step"),
)


class KernelTimes:
    """The kernels of one precision.

    Args:
        precision: tf32, bf16 or fp32, of minigan's products, of cuBLAS's and of the peer's.
    """

    def __init__(self, device: Device, precision: str) -> None:
        self.device, self.precision = device, precision
        self.has_peer = has_torch()
        if self.has_peer:
            set_torch(precision)

    @cached_property
    def backend(self) -> Any:
        return self.device.backend(self.precision)

    @cached_property
    def limits(self) -> Limits:
        """GFLOP/s of cuBLAS's products and GB/s of copies; of all turns the best, for these are limits.

        Without PyTorch, which brings cuBLAS in every precision, the products' is infinite.
        """
        xp = self.device.xp
        source, target = (xp.zeros(COPIED, dtype=np.uint8) for _ in range(2))
        copied = self._time(lambda: xp.copyto(target, source)).min
        multiplied = self._time(self._product()).min if self.has_peer else 0.0
        return Limits(2e-9 * PRODUCT**3 / multiplied if multiplied else math.inf, 2e-9 * COPIED / copied)

    def items(self) -> Iterator[Item]:
        yield "limits", self._limits
        for layer in layers():
            yield f"{layer.group} {layer.name}", partial(self.convolutions, layer)
        if self.precision == "tf32":  # these are the same in each precision
            for kernel in MEMORY_BOUND:
                yield kernel, partial(self.memory_bound, kernel)

    def convolutions(self, layer: kernels.Layer) -> Iterator[Record]:
        """A layer's three kernels."""
        ours, theirs = kernels.calls(self.backend, layer), self._peer(layer)
        for label, kernel in kernels.KERNELS.items():
            algorithm = self.backend.algorithm(kernel, layer.geometry, layer.batch, kernels.FLOAT)
            named = {"sizes": f"{layer.group} {layer.name}", "batch": layer.batch, "algorithm": algorithm}
            times = self._time(ours[label])
            record = self._record(kernel, times, layer.flops, layer.moved) | named
            try:
                record |= compared(times, self._time(theirs[label])) if theirs else {}
            except Exception as error:  # a peer's failure is a finding
                record["peer_error"] = str(error)
            yield record

    def memory_bound(self, kernel: str) -> Iterator[Record]:
        made = call(kernel, timed())
        bound = made.on(self.backend)
        times = self._time(bound.run)
        moved = made.moved(returned_bytes(bound.run()))
        yield self._record(kernel, times, 0, moved) | {"sizes": sizes_in_words(made)}

    def _limits(self) -> Iterator[Record]:
        rate = self.limits.multiply_adds if self.has_peer else None
        yield {"limits": self.precision, "multiply_adds": rate, "bandwidth": self.limits.bandwidth}

    def _record(self, kernel: str, times: Times, flops: int, moved: int) -> Record:
        record = {
            "kernel": kernel,
            "precision": self.precision,
            **seconds(times),
            "gflop": 1e-9 * flops,
            "gigabytes": 1e-9 * moved,
            "bound_by": None,
            "share_of_limit": None,
        }
        if self.has_peer or not flops:
            by = self.limits.bound(flops, moved).by
            record["bound_by"] = {"fma": "products", "mem": "memory"}[by]
            record["share_of_limit"] = self.limits.least_seconds(flops, moved) / times.median
        return record

    def _time(self, function: Callable[[], Any]) -> Times:
        return self.device.time_kernel(function, seconds=SECONDS)

    def _peer(self, layer: kernels.Layer) -> dict[str, Any]:
        if not self.has_peer:
            return {}
        return kernels.torch_calls(layer, device="cuda", dtype=torch_dtype(self.precision))

    def _product(self) -> Callable[[], Any]:
        """cuBLAS's, of two square matrices."""
        import torch

        dtype = getattr(torch, torch_dtype(self.precision))
        a, b = (torch.randn(PRODUCT, PRODUCT, device="cuda", dtype=dtype) for _ in range(2))
        return lambda: torch.mm(a, b)


def compared(ours: Times, theirs: Times) -> Record:
    """The peer's times, and our speed over theirs."""
    return {f"peer_{name}": value for name, value in seconds(theirs).items()} | {"ratio": theirs.median / ours.median}


def seconds(times: Times) -> Record:
    return {"seconds_min": times.min, "seconds_median": times.median, "calls": times.calls}


def returned_bytes(result: Any) -> int:
    results = result if isinstance(result, tuple) else (result,)
    return sum(array.nbytes for array in results if array is not None)


def sizes_in_words(made: Call) -> str:
    return "x".join(map(str, made.arguments[0].shape))


def torch_dtype(precision: str) -> str:
    return "bfloat16" if precision == "bf16" else "float32"


def set_torch(precision: str) -> dict[str, Any]:
    """PyTorch at the precision: TF32 allowed in convolutions and products, or not; cuDNN's choice by trial.

    Returns:
        The settings, for people.
    """
    import torch

    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    return {
        "cudnn.benchmark": torch.backends.cudnn.benchmark,
        "cudnn.allow_tf32": torch.backends.cudnn.allow_tf32,
        "cuda.matmul.allow_tf32": torch.backends.cuda.matmul.allow_tf32,
        "autocast": precision == "bf16",
    }
