"""A stand-in for CuPy on machines without a GPU: NumPy behind a border that host arrays cannot cross unnoticed.

It computes nothing on a GPU and proves nothing about CuPy's own functions. What it shows is minigan's part of the
contract: that networks, losses, optimisers and runs move arrays at the border, and call nothing of NumPy on arrays of
the device; that kernels are launched as CuPy wants it, and compute the right numbers (see `cuda_on_cpu`). Like
`cupy.ndarray`, a `DeviceArray` has no `__array_namespace__`, refuses implicit conversion to NumPy, and refuses to be
mixed with a NumPy array; NumPy and Python scalars are fine.
"""

import contextlib
import functools
import importlib.machinery
import sys
import types
from collections.abc import Iterator
from typing import Any

import cuda_on_cpu
import numpy as np


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):
    __module__ = "cupy"  # where code looks for the array's module

    def __init__(self, host: np.ndarray, base: "ndarray | None" = None) -> None:
        self.host = host
        self.base = base

    def __array__(self, *_args: Any, **_kwargs: Any) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        if out is not None:
            kwargs["out"] = tuple(to_host(o) for o in out)
        result = to_device(getattr(ufunc, method)(*map(to_host, inputs), **kwargs))
        return out[0] if out is not None else result

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # NumPy would find the host's buffer through __array_interface__
            raise AttributeError(name)
        value = getattr(self.host, name)
        if name in ("shape", "dtype", "ndim", "size", "nbytes", "flags", "strides"):
            return value
        return wrapped(value) if callable(value) else to_device(value, self)

    def __getitem__(self, key: Any) -> "ndarray":
        return to_device(self.host[key], self)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.host[key] = to_host(value)

    def __len__(self) -> int:
        return len(self.host)

    def __float__(self) -> float:
        return float(self.host)

    def __bool__(self) -> bool:
        return bool(self.host)

    def reshape(self, *shape: Any) -> "ndarray":
        return to_device(self.host.reshape(*shape), self)

    @property
    def T(self) -> "ndarray":
        return to_device(self.host.T, self)

    @property
    def data(self) -> types.SimpleNamespace:
        return types.SimpleNamespace(ptr=self.host.ctypes.data)


def to_device(value: Any, parent: ndarray | None = None) -> Any:
    """NumPy arrays, and the scalars that NumPy's reductions give, as device arrays."""
    if isinstance(value, tuple):
        return tuple(to_device(item) for item in value)
    if isinstance(value, np.ndarray | np.generic):
        owner = parent if parent is None or parent.base is None else parent.base
        shared = owner is not None and np.shares_memory(value, owner.host)
        return ndarray(np.asarray(value), owner if shared else None)
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
    def call(*args: Any, **kwargs: Any) -> Any:
        return to_device(function(*map(to_host, args), **{k: to_host(v) for k, v in kwargs.items()}))

    return call


def asarray(array: Any, dtype: Any = None) -> ndarray:
    """The border: copies from the host."""
    if isinstance(array, ndarray):
        return array if dtype in (None, array.dtype) else ndarray(array.host.astype(dtype))
    return ndarray(np.array(array, dtype=dtype))


@contextlib.contextmanager
def installed() -> Iterator[types.ModuleType]:
    """While entered `import cupy` finds the stand-in, also where CuPy is installed, and so does minigan."""
    ours = [name for name in sys.modules if name == "cupy" or name.startswith("minigan.backends.gpu")]
    hidden = {name: sys.modules.pop(name) for name in ours}
    sys.modules["cupy"] = make_module()
    try:
        yield sys.modules["cupy"]
    finally:
        for name in [name for name in sys.modules if name == "cupy" or name.startswith("minigan.backends.gpu")]:
            del sys.modules[name]
        sys.modules.update(hidden)


@functools.cache
def make_module() -> types.ModuleType:
    """What `import cupy` is to find."""
    module = types.ModuleType("cupy")
    module.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
    for name in dir(np):
        value = getattr(np, name)
        if callable(value) and not isinstance(value, type):
            setattr(module, name, wrapped(value))
    module.__dict__.update(
        ndarray=ndarray,
        asarray=asarray,
        asnumpy=lambda array: np.array(to_host(array)),
        float32=np.float32,
        float64=np.float64,
        RawModule=cuda_on_cpu.RawModule,
        linalg=types.SimpleNamespace(eigh=wrapped(np.linalg.eigh)),
        __version__="0 (a stand-in)",
        cuda=types.SimpleNamespace(
            Device=lambda: types.SimpleNamespace(id=0),
            runtime=types.SimpleNamespace(
                CUDARuntimeError=RuntimeError,
                getDeviceCount=lambda: 1,
                getDeviceProperties=lambda _: {"name": b"no GPU", "multiProcessorCount": 4, "major": 9},
            ),
        ),
    )
    return module
