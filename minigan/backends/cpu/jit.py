"""`@kernel`: how this package compiles a function, and where the machine code is kept."""

import contextlib
import functools
import gc
import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile

from minigan.backends.cpu import simd

# The part of fast-math that lets LLVM fuse and reorder sums. Not `nnan` or `ninf`: with those LLVM may assume
# that no NaN occurs, and the training loop's guard against divergence would never see one.
FAST_MATH = {"contract", "reassoc", "nsz", "arcp"}

# What machine code depends on beyond its source, its argument types and the CPU.
VECTORS = (simd.VECTOR_BYTES, simd.TILE_ROWS, simd.TILE_VECTORS, simd.HAS_FMA)


@functools.cache
def fingerprint() -> str:
    """Hash of the whole source of this package, since machine code also contains what `simd.py`'s intrinsics emit.

    Numba itself compiles a cached function again only when the function's own file changes.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


class CacheFile(IndexDataCacheFile):
    """Numba's files of one function, which several processes may write at once.

    Numba numbers the files of machine code. Two processes that save a function for different types at the same moment
    may both take the same number, and then the index leads to code for other types. Here a file is named after its key,
    and the index, which is read once more just before it is written, never leads to a file that is not there yet.
    """

    def save(self, key: Any, data: Any) -> None:
        identity = self._dump((self._version, self._source_stamp, key))
        name = self._data_name_pattern.format(number=int.from_bytes(hashlib.sha256(identity).digest()[:8]))
        self._save_data(name, data)
        self._save_index(self._load_index() | {key: name})


class CachePlace(CompileResultCacheImpl):
    """Numba's choice of a cache folder: NUMBA_CACHE_DIR, next to the source, or in the user's home.

    Without a home Numba would make a folder named `~` in the present one.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        home = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~"))
        if not os.path.isabs(home):
            self._locator_classes = [kind for kind in self._locator_classes if "UserWide" not in kind.__name__]
        super().__init__(function)


class KeyedCache(FunctionCache):
    """Numba's on-disk cache of one function, tied to this source, with the vectors' width in its key."""

    _impl_class = CachePlace

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        locator = self._impl.locator
        self._cache_file = CacheFile(self._cache_path, self._impl.filename_base, locator.get_source_stamp())
        # An index of another version is not even read: it may name types that are gone.
        self._cache_file._version = f"{numba.__version__} {fingerprint()}"

    def beside(self, name: str) -> CacheFile:
        """Files of another name in the same folder."""
        with contextlib.suppress(OSError):  # then nothing can be saved
            self._impl.locator.ensure_cache_path()
        file = CacheFile(self._cache_path, name, "")
        file._version = self._cache_file._version
        return file

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        return (*super()._index_key(sig, codegen), *VECTORS)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # a damaged file, whatever that makes of it: compiled anew, and written anew
            with contextlib.suppress(OSError):
                self.flush()
            return None

    def is_warm(self) -> bool:
        """Tells whether it holds the function's current version, for any types."""
        return any(key[-len(VECTORS) :] == VECTORS for key in self._cache_file._load_index())

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:  # a full disk, a folder gone: the function is compiled all the same
            _warn_uncached(str(error))


@functools.cache
def _warn_uncached(reason: str) -> None:
    """Once per reason and process."""
    logging.getLogger("minigan").warning(
        "compiled kernels cannot be kept and every process compiles anew (%s). "
        "Set NUMBA_CACHE_DIR to a writable folder.",
        reason,
    )


def uncollected(compile_types: Callable[..., Any]) -> Callable[..., Any]:
    """A compilation during which Python does not look for cycles of objects that nobody holds.

    It makes millions of small objects, and looking through them again and again was a tenth of its time.
    """

    @functools.wraps(compile_types)
    def run(*arguments: Any) -> Any:
        collects = gc.isenabled()
        gc.disable()
        try:
            return compile_types(*arguments)
        finally:
            if collects:  # the outermost one's
                gc.enable()

    return run


def kernel(
    function: Callable[..., Any] | None = None, *, inline: bool = False, ordered: bool = False, long: bool = False
) -> Any:
    """Compiles a function on its first call, for the types it is called with.

    It runs without the interpreter lock, so that `Team` can run parts of it at once.

    Args:
        inline: for a building block: its source becomes part of each caller's, before types are inferred, and nothing
            is compiled for itself, which halves the time that a first run compiles.
        ordered: sums are done in the order in which they are written, where their rounding is the point; also those of
            the building blocks in it.
        long: for a kernel that takes milliseconds: a team calls it through Python, not through `launch.py`. There it
            runs as Numba's wrapper has it, which makes Winograd's convolutions a fifth quicker, and a DCGAN-64 step in
            bfloat16 a seventh (measured, on Zen 4).
    """
    if function is None:
        return functools.partial(kernel, inline=inline, ordered=ordered, long=long)
    compiled: Any = numba.njit  # its annotations leave out `no_cfunc_wrapper`
    dispatcher = compiled(
        nogil=True,
        fastmath=FAST_MATH - {"reassoc"} if ordered else FAST_MATH,
        error_model="numpy",
        inline="always" if inline else "never",
        no_cfunc_wrapper=True,  # another entry, with all the code once more: a fifth of the time, and nobody calls it
    )(function)
    if not inline:
        dispatcher._compiler.compile = uncollected(dispatcher._compiler.compile)
        if not long:
            dispatcher.addresses = np.empty(0, np.int64)  # see `launch.launch`
        try:
            dispatcher._cache = KeyedCache(function)
        except (RuntimeError, OSError, ValueError):  # "no locator available", or a name of the folder that is no text
            _warn_uncached("no cache folder is writable")
    return dispatcher
