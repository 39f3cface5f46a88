"""The self-test of a generator in C: numbers of the engine in the file, and a compiler that runs it."""

import os
import shutil
import subprocess
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from minigan.errors import ConfigError
from minigan.export import graph as g
from minigan.export.base import Subject
from minigan.export.c_statements import Program
from minigan.export.quality import Quality

__all__ = ["compiler", "run_self_test", "self_test"]

PLACES = 8  # numbers of the image that the file's test compares
TOLERANCE = 1e-4  # of the largest number, at least of 1
LIMIT = 120  # seconds to compile, and to run


def self_test(subject: Subject, program: Program, found: Quality) -> str:
    """C that compares the first image with the engine's: some of its numbers, and the mean of all."""
    graph, size = program.graph, prod(program.graph.output_shape)
    places = np.unique(np.linspace(0, size - 1, PLACES).astype(int)).tolist()
    expected = found.expected.astype(np.float64)
    pairs = ", ".join(f"{{{at}, {expected[at]:.7e}f}}" for at in places)
    tolerance = TOLERANCE * max(1.0, float(np.abs(expected).max()))
    call, setup = _call(subject, graph)
    return SELF_TEST.format(
        size=size, pairs=pairs, count=len(places), mean=expected.mean(), tolerance=tolerance, call=call, setup=setup
    )


def _call(subject: Subject, graph: g.Graph) -> tuple[str, str]:
    """The call that draws the first image, and statements before it."""
    setup, condition = "", "0, " if subject.classes else ""
    if not subject.classes and graph.condition_shape is not None:
        setup, condition = _pattern("condition", prod(graph.condition_shape)), "condition, "
    if subject.from_noise:
        return f"net_sample(0, 0, {condition}scratch)", setup
    return f"net_generate(image, {condition}scratch)", setup + _pattern("image", prod(graph.input_shape))


def _pattern(name: str, size: int) -> str:
    """C that makes an array of that size; as in `_uniform`."""
    return (
        f"    static float {name}[{size}];\n    for (int i = 0; i < {size}; i++)\n"
        f"        {name}[i] = (float)(i * 37 % 64 - 32) / 32;\n"
    )


SELF_TEST = """\
#ifdef MINIGAN_SELF_TEST
#include <stdio.h>
#include <time.h>

/* Compares a picture with that of minigan's engine: some of its numbers, and the mean of all. */
int main(void)
{{
    static const struct {{ int place; float number; }} expected[{count}] = {{{pairs}}};
    static float scratch[NET_SCRATCH];
{setup}    clock_t start = clock(), now;
    int pictures = 0;
    const float *x;
    do {{
        x = {call};
        now = clock();
    }} while (++pictures < 1000 && now - start < CLOCKS_PER_SEC / 10);
    float mean = 0, difference, largest = 0;
    for (int i = 0; i < {size}; i++)
        mean += x[i] / {size};
    largest = fabsf(mean - {mean:.7e}f);
    for (int i = 0; i < {count}; i++) {{
        difference = fabsf(x[expected[i].place] - expected[i].number);
        largest = difference <= largest ? largest : difference;
    }}
    const int passed = largest <= {tolerance:.3e}f;
    printf("self-test %s: differs by %.1e of at most {tolerance:.0e}, %.3g ms a picture\\n",
           passed ? "passed" : "failed", (double)largest, 1e3 * (double)(now - start) / CLOCKS_PER_SEC / pictures);
    return passed ? 0 : 1;
}}
#endif"""


# ---------------------------------------------------------------------------------------------- running it


def compiler() -> str | None:
    """The C compiler: that of the variable CC, or cc, gcc or clang; None where there is none."""
    names = (os.environ.get("CC", ""), "cc", "gcc", "clang")
    return next((found for name in names if name and (found := shutil.which(name))), None)


def run_self_test(source: str) -> str:
    """Compiles and runs a file's self-test; returns a line that says what came of it.

    Raises:
        ConfigError: the test fails.
    """
    cc = compiler()
    if cc is None:
        return "self-test not run: no C compiler was found"
    with TemporaryDirectory() as folder:
        file, program = Path(folder, "self_test.c"), Path(folder, "self_test")
        file.write_text(source, encoding="ascii")
        command = [cc, "-std=c99", "-O2", "-DMINIGAN_SELF_TEST", str(file), "-lm", "-o", str(program)]
        try:
            built = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
            if built.returncode:
                first = next(
                    (line for line in built.stderr.splitlines() if "error" in line), f"exit {built.returncode}"
                )
                return f"self-test not run: {Path(cc).name} could not compile it ({first.strip()})"
            ran = subprocess.run([program], capture_output=True, text=True, timeout=LIMIT, check=False)
        except (subprocess.TimeoutExpired, OSError) as error:
            return f"self-test not run: {type(error).__name__} of {Path(cc).name}"
    if ran.returncode:
        said = ran.stdout.strip() or f"exit {ran.returncode}"
        raise ConfigError(
            f"the exported C, compiled by {cc}, gave other images than the engine: {said}. Set CC to another."
        )
    return f"{ran.stdout.strip()} ({Path(cc).name} -O2)"
