"""Matrix products and the sums that go with them."""

from types import ModuleType

from minigan.backends.base import Array


class DenseKernels:
    xp: ModuleType

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
        product = (a.T if transpose_a else a) @ (b.T if transpose_b else b)
        if bias is not None:
            product += bias
        if add_to is None:
            return product
        add_to += product
        return add_to

    def batched_matmul(self, a: Array, b: Array, *, transpose_a: bool = False, transpose_b: bool = False) -> Array:
        return (a.swapaxes(1, 2) if transpose_a else a) @ (b.swapaxes(1, 2) if transpose_b else b)

    def dense_grad(
        self, dy: Array, x: Array, w: Array, *, add_to: tuple[Array, Array | None] | None, need_dx: bool = True
    ) -> Array | None:
        if add_to is not None:
            dw, db = add_to
            self.matmul(x, dy, transpose_a=True, add_to=dw)
            if db is not None:
                self.channel_sum(dy, add_to=db)
        return self.matmul(dy, w, transpose_b=True) if need_dx else None

    def channel_sum(self, dy: Array, *, add_to: Array) -> None:
        # In double precision: a float32 running sum over a million pixels loses three digits.
        add_to += dy.sum(axis=tuple(range(dy.ndim - 1)), dtype=self.xp.float64).astype(dy.dtype)
