"""A lighter start of Numba: two things that it does before its first kernel can wait, or need not be done again.

Together they take 30 to 50 MiB and a quarter of a second. Both reach into Numba's internals: with a version that looks
different inside, its start is as it was.
"""

import contextlib
import importlib.util
import sys
from collections.abc import Callable
from typing import Any


def leave_scipy_for_later() -> None:
    """Keeps Numba from importing SciPy only to learn that it is there.

    Numba asks as its array functions are imported; what computes with BLAS asks again, and imports it then.
    """
    if "numba.np.arraymath" in sys.modules or "scipy.linalg" in sys.modules:
        return
    with contextlib.suppress(ImportError, AttributeError):
        from numba.np import linalg

        ensure_blas = linalg.ensure_blas
        linalg.ensure_blas = _expect_scipy
        try:
            from numba.np import arraymath

            vars(arraymath)["ensure_blas"] = ensure_blas
        finally:
            linalg.ensure_blas = ensure_blas


def _expect_scipy() -> None:
    if importlib.util.find_spec("scipy") is None:
        raise ImportError("scipy is not installed")


def keep_runtime(file: Any) -> None:
    """Loads the machine code of Numba's runtime library from a cache, as that of kernels.

    Numba compiles it in each process, which brings LLVM's optimizer into memory. A process that compiles nothing else
    does without.

    Args:
        file: has `load(key)`, which may return None, and `save(key, data)`.
    """
    with contextlib.suppress(ImportError, AttributeError):
        from numba.core.runtime import nrtdynmod

        nrtdynmod.compile_nrt_functions = _kept(nrtdynmod.compile_nrt_functions, nrtdynmod.create_nrt_module, file)


def _kept(compile_functions: Callable[[Any], Any], create_module: Callable[[Any], Any], file: Any) -> Any:
    """The function that compiles the library, or takes it from the file."""

    def compile_nrt_functions(context: Any) -> Any:
        try:
            codegen = context.codegen()
            key = ("nrt", codegen.magic_tuple())
            if (state := file.load(key)) is not None:
                return codegen.unserialize_library(state)
            module, library = create_module(context)
            library.enable_object_caching()
            library.add_ir_module(module)
            library.finalize()
            with contextlib.suppress(OSError):  # a full disk: compiled in each process, then
                file.save(key, library.serialize_using_object_code())
            return library
        except Exception:  # a damaged file, another Numba
            return compile_functions(context)

    return compile_nrt_functions
