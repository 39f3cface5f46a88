"""Scales of each image's channels, a pass each, and a gradient with its sums in one: modulation.cu."""

import numpy as np

from minigan.backends.base import Array, expect
from minigan.backends.gpu.columns import ColumnEngine
from minigan.backends.gpu.launch import contiguous


class ModulationKernels(ColumnEngine):
    """Overrides of `reference.modulation.ModulationKernels`."""

    def scale_channels(self, x: Array, s: Array) -> Array:
        expect("s", s, (len(x), x.shape[-1]), x.dtype)
        y = self.empty(x.shape, x.dtype)
        if x.size:
            arguments = (contiguous(s), x.shape[-1])
            self.whole_pass("modulation", "scale_channels", (x,), *arguments, examples=len(x), results=(y,))
        return y

    def scale_channels_grad(self, dy: Array, x: Array, s: Array, *, need_dx: bool = True) -> tuple[Array | None, Array]:
        expect("dy", dy, x.shape, x.dtype)
        expect("s", s, (len(x), x.shape[-1]), x.dtype)
        dx, ds = self.empty(x.shape, x.dtype) if need_dx else None, self.empty(s.shape, x.dtype)
        if not x.size:
            return dx, ds
        arguments = (contiguous(s), x.shape[-1], dx)
        partials = self.partial_sums("modulation", "scale_gradients", (dy, x), *arguments, examples=len(x), terms=1)
        self.launch.elementwise(
            "modulation",
            "add_scale_gradients",
            ds.size,
            *(partials.sums, np.int64(ds.size), partials.rows, x.shape[-1], ds),
            dtype=x.dtype,
            settings=partials.settings,
        )
        return dx, ds
