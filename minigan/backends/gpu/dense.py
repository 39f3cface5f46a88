"""Matrix products: each is one of the three convolution kernels, on images of one pixel."""

from minigan.backends.base import Array, expect
from minigan.backends.gpu.conv import ConvKernels, Finish
from minigan.backends.gpu.launch import contiguous
from minigan.backends.gpu.plan import dense
from minigan.backends.workspace import InPlace


class DenseKernels(ConvKernels):
    """Overrides of `reference.dense.DenseKernels`, and of what is fused with them."""

    def matmul(
        self,
        a: Array,
        b: Array,
        *,
        transpose_a: bool = False,
        transpose_b: bool = False,
        bias: Array | None = None,
        add_to: Array | None = None,
    ) -> Array:
        if add_to is None:
            return self._matmul(a, b, transpose_a, transpose_b, None, Finish(bias))
        with InPlace(contiguous, add_to) as (sums,):
            self._matmul(a, b, transpose_a, transpose_b, sums, Finish(bias, add=True))
        return add_to

    def dense_leaky_relu(self, x: Array, w: Array, b: Array | None, *, slope: float) -> Array:
        return self._matmul(x, w, False, False, None, Finish(b, slope))

    def _matmul(
        self, a: Array, b: Array, transpose_a: bool, transpose_b: bool, y: Array | None, finish: Finish
    ) -> Array:
        if transpose_a and transpose_b:  # no layer needs it
            a, transpose_a = self.xp.ascontiguousarray(a.T), False
        M, L = a.shape[::-1] if transpose_a else a.shape
        N = b.shape[0] if transpose_b else b.shape[1]
        expect("b", b, (N, L) if transpose_b else (L, N), a.dtype)
        y = self.empty((M, N), a.dtype) if y is None else y
        if transpose_a:
            self.product("conv2d_weight_grad", a, b, y, dense(M, N), L, finish)
        elif transpose_b:
            self.product("conv2d_input_grad", a, b, y, dense(N, L), M, finish)
        else:
            self.product("conv2d", a, b, y, dense(L, N), M, finish)
        return y
