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

    def batched_matmul(self, a: Array, b: Array, *, transpose_a: bool = False, transpose_b: bool = False) -> Array:
        if transpose_a and transpose_b:  # no layer needs it
            a, transpose_a = self.xp.ascontiguousarray(a.swapaxes(1, 2)), False
        expect("b", b, (len(a), *b.shape[1:]), a.dtype)
        M = a.shape[2] if transpose_a else a.shape[1]
        N = b.shape[1] if transpose_b else b.shape[2]
        y = self.empty((len(a), M, N), a.dtype)
        if y.size:
            self._multiply(a, b, transpose_a, transpose_b, y, Finish(), products=len(a))
        return y

    def _matmul(
        self, a: Array, b: Array, transpose_a: bool, transpose_b: bool, y: Array | None, finish: Finish
    ) -> Array:
        if transpose_a and transpose_b:  # no layer needs it
            a, transpose_a = self.xp.ascontiguousarray(a.T), False
        M = a.shape[1] if transpose_a else a.shape[0]
        N = b.shape[0] if transpose_b else b.shape[1]
        y = self.empty((M, N), a.dtype) if y is None else y
        self._multiply(a, b, transpose_a, transpose_b, y, finish)
        return y

    def _multiply(
        self, a: Array, b: Array, transpose_a: bool, transpose_b: bool, y: Array, finish: Finish, *, products: int = 1
    ) -> None:
        """Products of the last two axes; one at most is transposed."""
        M, N = y.shape[-2:]
        L = a.shape[-2] if transpose_a else a.shape[-1]
        expect("b", b, (*b.shape[:-2], N, L) if transpose_b else (*b.shape[:-2], L, N), a.dtype)
        if transpose_a:
            self.product("conv2d_weight_grad", a, b, y, dense(M, N), L, finish, products=products)
        elif transpose_b:
            self.product("conv2d_input_grad", a, b, y, dense(N, L), M, finish, products=products)
        else:
            self.product("conv2d", a, b, y, dense(L, N), M, finish, products=products)
