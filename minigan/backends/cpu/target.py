"""The instructions that Numba compiles for, which need not be all that the processor has."""

from numba.core.registry import cpu_target


def _features() -> frozenset[str]:
    """Names that LLVM has for them, such as `avx512f`.

    Numba hands them to LLVM as a text; NUMBA_CPU_NAME and NUMBA_CPU_FEATURES replace it. An instruction that is not
    among them must not be asked for by name: LLVM would end the process.
    """
    _, _, text = cpu_target.target_context.codegen().magic_tuple()
    return frozenset(word[1:] for word in str(text).split(",") if word.startswith("+"))


FEATURES = _features()
