"""The engines: one backend object holds the kernels a network is bound to."""

import os
import sys
from collections.abc import Mapping
from types import ModuleType

from minigan.backends.base import Array, Backend, KernelCoverage, Number
from minigan.backends.precision import chosen_precision, expect_precision
from minigan.errors import BackendError, ConfigError, MiniganError, MissingExtraError
from minigan.support.arguments import kind_of

__all__ = ["BACKENDS", "Array", "Backend", "KernelCoverage", "Number", "array_module", "get_backend"]


def __dir__() -> list[str]:
    return sorted(__all__)


BACKENDS = ("reference", "cpu", "gpu")

# Names that people have for them, in small letters.
_OTHER_NAMES: Mapping[str, str] = {
    **{name: name for name in ("auto", *BACKENDS)},
    **dict.fromkeys(("numpy", "np"), "reference"),
    **dict.fromkeys(("numba", "jit"), "cpu"),
    **dict.fromkeys(("cuda", "cupy", "nvidia"), "gpu"),
}


def get_backend(name: str | Backend = "auto", *, precision: str | None = None) -> Backend:
    """A new backend object.

    Args:
        name: "reference" (NumPy), "cpu" (Numba), "gpu" (CuPy, on a CUDA GPU), or "auto": the fastest of them that
            can run here. A backend object is returned as it is, and brings its own precision.
        precision: of products: "fp32", "tf32" or "bf16", as far as the backend has it. None or "auto" is the
            environment's MINIGAN_PRECISION, else the backend's default. The reference has "fp32" alone and ignores the
            environment: it is what the others are compared with.
    Raises:
        ConfigError: an unknown name or precision, one that the backend does not have, or that a backend object which is
            given does not compute with.
        MissingExtraError: its library is not installed.
        BackendError: its library is installed but cannot run here.
    """
    if isinstance(name, Backend):
        return _expect_own_precision(name, precision)
    if name == "auto":
        for candidate in reversed(BACKENDS):
            try:
                return get_backend(candidate, precision=precision)
            except (MissingExtraError, BackendError) as error:
                if isinstance(error, MissingExtraError) and error.name == "ml_dtypes":
                    raise  # the engine is there: the precision that was asked for lacks a package
    if name == "reference":
        from minigan.backends.reference import ReferenceBackend

        on = "the reference backend"
        chosen_precision(precision, default="fp32", possible=("fp32",), on=on, environment=False)
        return ReferenceBackend()
    if name == "cpu":
        return _cpu_backend(precision)
    if name == "gpu":
        try:
            import cupy  # noqa: F401
        except ImportError as error:
            if error.name == "cupy":
                raise MissingExtraError.of(package="cupy", extra="cuda13", purpose="the gpu backend") from None
            reason = str(error.__cause__ or error).strip()
            raise BackendError(
                f"cupy is installed, but cannot be imported: {reason}. Install the one for your CUDA alone: "
                "pip install 'minigan[cuda13]' or 'minigan[cuda12]'"
            ) from None
        from minigan.backends.gpu import GpuBackend

        return GpuBackend(precision=precision)
    near = _OTHER_NAMES.get(name.lower()) if isinstance(name, str) else None
    remedy = f"Did you mean {near!r}?" if near else 'Write "auto" for the fastest one here.'
    raise ConfigError(f"backend must be one of auto, {', '.join(BACKENDS)}, got {kind_of(name)}. {remedy}")


def _expect_own_precision(backend: Backend, precision: str | None) -> Backend:
    """The backend, unless another precision than its own is asked for.

    Raises:
        ConfigError: it is, or it is unknown.
    """
    asked = expect_precision(precision)
    if asked in (None, backend.precision):
        return backend
    raise ConfigError(
        f"{backend!r} computes in {backend.precision}, got `precision={asked!r}` in addition. Leave it out, or give "
        "the backend's name."
    )


def _cpu_backend(precision: str | None) -> Backend:
    try:
        import numba
    except ImportError as error:
        if error.name == "numba":
            raise MissingExtraError.of(package="numba", extra="numba", purpose="the cpu backend") from None
        raise BackendError(
            f"numba is installed, but cannot be imported: {error}. Install a version for this NumPy."
        ) from None
    except Exception as error:  # a number of threads that is none, a system call that a sandbox denies
        raise _no_numba(error) from None
    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]  # from the environment
        raise BackendError("NUMBA_DISABLE_JIT keeps Numba from compiling the cpu backend's kernels. Unset it.")
    try:
        from minigan.backends.cpu import CpuBackend
    except MiniganError:
        raise
    except Exception as error:
        raise _no_numba(error) from None
    return CpuBackend(precision=precision)


def _no_numba(error: Exception) -> BackendError:
    settings = " ".join(f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith("NUMBA_"))
    reason = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".")
    remedy = f"Check its settings in the environment: {settings}." if settings else "Write `backend='reference'`."
    if isinstance(error, OSError):
        remedy = "A sandbox may forbid what it asks of the system: `backend='reference'` does without."
    return BackendError(f"numba is installed, but cannot be used here: {reason}. {remedy}")


def logit_kernels(logits: Array) -> ModuleType | None:
    """A backend's own kernels for losses of these logits, `minigan.backends.gpu.logits`; None if it has none."""
    if array_module(logits).__name__ != "cupy":
        return None
    from minigan.backends.gpu import logits as native

    return native if native.takes(logits) else None


def array_module(array: Array) -> ModuleType:
    """numpy for a NumPy array or scalar, cupy for a CuPy array, without importing either by name.

    CuPy 14 has no `__array_namespace__`, so the package that the array's type comes from must do.
    """
    return sys.modules[type(array).__module__.partition(".")[0]]
