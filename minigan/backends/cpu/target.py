"""The instructions that Numba compiles for, which need not be all that the processor has."""

from numba.core.registry import cpu_target

from minigan.backends.cpu import numba_start


def _features() -> frozenset[str]:
    """Names that LLVM has for them, such as `avx512f`.

    Numba hands them to LLVM as a text; NUMBA_CPU_NAME and NUMBA_CPU_FEATURES replace it. An instruction that is not
    among them must not be asked for by name: LLVM would end the process.
    """
    numba_start.leave_scipy_for_later()  # the target's first use imports all that it can compile
    _, _, text = cpu_target.target_context.codegen().magic_tuple()
    return frozenset(word[1:] for word in str(text).split(",") if word.startswith("+"))


FEATURES = _features()
