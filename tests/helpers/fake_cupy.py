"""A stand-in for CuPy on machines without a GPU: NumPy behind a border that host arrays cannot cross unnoticed.

It computes nothing on a GPU and proves nothing about CuPy's own functions. What it shows is minigan's part of the
contract: that networks, losses, optimizers and runs move arrays at the border, and call nothing of NumPy on arrays of
the device; that kernels are launched as CuPy wants it, and compute the right numbers (see `cuda_on_cpu`). Like
`cupy.ndarray`, a `DeviceArray` has no `__array_namespace__`, refuses implicit conversion to NumPy, and refuses to be
mixed with a NumPy array; NumPy and Python scalars are fine.
"""

import contextlib
import importlib.machinery
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import cuda_on_cpu
import fake_nccl
import numpy as np
from fake_cuda import DEVICE, MemoryPool, spoil
from fake_cuda import make_module as make_cuda

CHANGE_THEIR_ARRAY = ("fill", "sort", "partition", "put")


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):
    __module__ = "cupy"  # where code looks for the array's module

    def __init__(self, host: np.ndarray, base: "ndarray | None" = None) -> None:
        self.host = host
        self.base = base
        if base is None:
            self.block = DEVICE.allocate(host.nbytes)
            DEVICE.owned(self)

    def __array__(self, *_args: Any, **_kwargs: Any) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return wrapped(getattr(ufunc, method))(*inputs, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # NumPy would find the host's buffer through __array_interface__
            raise AttributeError(name)
        value = getattr(self.host, name)
        if name in ("shape", "dtype", "ndim", "size", "nbytes", "flags", "strides"):
            return value
        if not callable(value):
            return compute(lambda host: getattr(host, name), self)
        return lambda *args, **kwargs: compute(
            lambda host, *a, **k: getattr(host, name)(*a, **k), self, *args, writes=name in CHANGE_THEIR_ARRAY, **kwargs
        )

    def __getitem__(self, key: Any) -> "ndarray":
        return compute(lambda host, k: host[k], self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        compute(lambda host, k, v: host.__setitem__(k, v), self, key, value, writes=True)

    def __len__(self) -> int:
        return len(self.host)

    def __float__(self) -> float:
        DEVICE.wait()
        return float(self.host)

    def __bool__(self) -> bool:
        DEVICE.wait()
        return bool(self.host)

    def set(self, host: np.ndarray, stream: Any = None) -> None:
        """Copies from the host when the stream comes to it."""
        DEVICE.copy_from_host()
        if stream is None or stream is DEVICE.streams[-1]:
            np.copyto(self.host, host)
        else:
            stream.enqueue(lambda: np.copyto(self.host, host))

    @property
    def data(self) -> types.SimpleNamespace:
        return types.SimpleNamespace(ptr=self.host.ctypes.data)


def compute(function: Callable[..., Any], *args: Any, writes: bool = False, **kwargs: Any) -> Any:
    """A function of NumPy on the device's arrays."""
    arrays = [a for a in flat((args, tuple(kwargs.values()))) if isinstance(a, ndarray)]
    hosts, options = to_host(args), {name: to_host(value) for name, value in kwargs.items()}
    out = kwargs.get("out")
    result = DEVICE.compute(
        lambda: function(*hosts, **options), writes=writes or out is not None, memory=[a.host for a in arrays]
    )
    if out is not None:
        return out[0] if isinstance(out, tuple) else out
    return to_device(result, arrays)


def flat(value: Any) -> list[Any]:
    return [leaf for item in value for leaf in flat(item)] if isinstance(value, list | tuple) else [value]


def to_device(value: Any, parents: Any = ()) -> Any:
    """NumPy arrays, and the scalars that NumPy's reductions give, as device arrays; views of their parents."""
    if isinstance(value, tuple | list):
        return tuple(to_device(item, parents) for item in value)
    if isinstance(value, np.ndarray | np.generic):
        owners = (parent if parent.base is None else parent.base for parent in parents)
        return ndarray(np.asarray(value), next((o for o in owners if np.may_share_memory(value, o.host)), None))
    return value


def to_host(value: Any) -> Any:
    if isinstance(value, ndarray):
        return value.host
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError(f"Unsupported type {type(value)}: a host array met an array of the device.")
    if isinstance(value, list | tuple):
        return type(value)(to_host(v) for v in value)
    return value


def wrapped(function: Any) -> Any:
    return lambda *args, **kwargs: compute(function, *args, **kwargs)


def few(function: Any) -> Any:
    """For more than eight arrays CuPy copies their addresses from the host."""

    def call(arrays: Any, *args: Any, **kwargs: Any) -> Any:
        if len(arrays) > 8:
            DEVICE.copy_from_host()
        return compute(function, arrays, *args, **kwargs)

    return call


def asarray(array: Any, dtype: Any = None) -> ndarray:
    """The border: copies from the host."""
    if isinstance(array, ndarray):
        return array if dtype in (None, array.dtype) else array.astype(dtype)
    DEVICE.copy_from_host()
    return ndarray(np.array(array, dtype=dtype))


def empty(shape: Any, dtype: Any = np.float64) -> ndarray:
    """Memory as it is; no kernel fills it."""
    host = np.empty(shape, dtype)
    if DEVICE.graph is not None:
        spoil(host)
    return ndarray(host)


def asnumpy(array: Any) -> np.ndarray:
    DEVICE.wait()
    return np.array(to_host(array))


@contextlib.contextmanager
def installed(modules: dict[str, types.ModuleType] | None = None) -> Iterator[types.ModuleType]:
    """While entered `import cupy` finds the stand-in, also where CuPy is installed, and so does minigan.

    Args:
        modules: those of an earlier time, to be entered again; filled with what is imported. By default a device where
            nothing has happened yet.
    """
    hidden = _taken_out()
    if modules:
        sys.modules.update(modules)
    else:
        sys.modules |= {"cupy": make_module(), "cupy.cuda.nccl": fake_nccl.make_module()}
        DEVICE.reset()
    try:
        yield sys.modules["cupy"]
    finally:
        found = _taken_out()
        if modules is not None:
            modules.update(found)
        sys.modules.update(hidden)


def _taken_out() -> dict[str, types.ModuleType]:
    """CuPy, and what of minigan has imported it, from now on to be imported anew."""
    names = [name for name in sys.modules if f"{name}.".startswith(("cupy.", "minigan.backends.gpu."))]
    return {name: sys.modules.pop(name) for name in names}


def make_module() -> types.ModuleType:
    """The module that `import cupy` finds."""
    module = types.ModuleType("cupy")
    module.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
    for name in dir(np):
        value = getattr(np, name)
        if callable(value) and not isinstance(value, type):
            setattr(module, name, wrapped(value))
    module.__dict__.update(
        ndarray=ndarray,
        asarray=asarray,
        asnumpy=asnumpy,
        empty=empty,
        empty_like=lambda array: empty(array.shape, array.dtype),
        **{name: few(getattr(np, name)) for name in ("concatenate", "stack")},
        copyto=lambda target, *args, **kwargs: compute(np.copyto, target, *args, writes=True, **kwargs),
        get_default_memory_pool=lambda: DEVICE.default_pool,
        get_default_pinned_memory_pool=MemoryPool,
        float32=np.float32,
        float64=np.float64,
        RawModule=cuda_on_cpu.RawModule,
        linalg=types.SimpleNamespace(eigh=wrapped(np.linalg.eigh)),
        __version__="0 (a stand-in)",
        cuda=make_cuda(),
    )
    return module
