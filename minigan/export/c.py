"""To C: a generator as one C99 header without allocation, for microcontrollers, games and other languages.

`c_statements` says the operations in C, `c_functions.c` has the functions that they call, `c_memory` packs the values
into the caller's memory, `c_self_test` compares with the engine.
"""

import re
import unicodedata
from collections.abc import Iterable
from math import prod
from pathlib import Path

import numpy as np

import minigan
from minigan.export import graph as g
from minigan.export.base import ExportOptions, Subject
from minigan.export.c_self_test import run_self_test, self_test
from minigan.export.c_statements import Program, library
from minigan.export.fewer_bits import in_bits
from minigan.export.quality import Quality, finding, quality
from minigan.support.durable_files import atomic_write

__all__ = ["header", "write"]

RATE = 100e6  # operations a second of a small processor with floating point

TYPES = {"fp16": "uint16_t", "int8": "int8_t"}
VALUES = {"fp32": "(w)", "fp16": "net_weight_value(w)", "int8": "((float)(w))"}


def write(subject: Subject, out: Path, options: ExportOptions) -> str:
    """Writes a header: C99 and C++, without allocation, whose names begin with the file's.

    Where a C compiler is found, it compiles and runs the header's self-test first.

    Raises:
        ConfigError: a layer cannot be exported, weights are not finite or too large for fp16, or the self-test fails.
        OutputError: the file cannot be written.
    """
    weights = options.weights or "fp32"
    program = _program(subject, weights)
    found = quality(subject, program.graph, weights)
    source = header(subject, program, found, name=out.name)
    tested = run_self_test(source)
    atomic_write(out, source.encode())
    speed = f"about {program.flops / RATE * 1e3:,.3g} ms at 100 MFLOP/s"
    return "\n".join([*finding(found), f"{_sizes(program)}; {speed}", tested])


def _program(subject: Subject, weights: str) -> Program:
    """The network's program.

    Raises:
        ConfigError: a layer cannot be exported, or its weights are not finite.
    """
    graph = g.fold_batch_norms(subject.graph(to="c"))
    if graph.output in (g.INPUT, g.CONDITION) or all(isinstance(op, g.Reshape) for op in graph.ops):
        unit = g.Scale(inputs=(graph.output,), shape=graph.output_shape, factor=1.0, offset=0.0)
        graph = graph.then(unit)  # the output is always the program's own
    held = (g.INPUT,) * subject.from_noise + (g.CONDITION,) * bool(subject.classes)
    return Program(in_bits(graph, weights), weights=weights, held=held, source="z" if subject.from_noise else "image")


def _sizes(program: Program) -> str:
    """Sizes of a program, in words."""
    weights, numbers = (sum(array.nbytes for array in arrays) for arrays in (program.weights, program.numbers))
    flops = f"{program.flops / 1e6:.3g} MFLOP"
    return f"{weights + numbers:,} bytes of weights, {4 * max(program.plan.size, 1):,} bytes of scratch memory, {flops}"


# ---------------------------------------------------------------------------------------------- the file


def header(subject: Subject, program: Program, found: Quality, *, name: str) -> str:
    """The file's text.

    Args:
        found: what the self-test compares with.
        name: of the file, from which all names in it come.
    """
    prefix = _identifier(name)
    called = "\n".join(statement for statement, _ in program.statements)
    body = [
        _declarations(subject, program),
        "#if defined(NET_IMPLEMENTATION) || defined(MINIGAN_SELF_TEST)",
        _weights(program),
        *_functions(called + " net_noise net_random_class" * subject.from_noise, program),
        _names(subject.class_names),
        _table(program),
        _generate(subject, program),
        *([_sample(subject, program)] if subject.from_noise else []),
        *([ROWS] if len(program.graph.output_shape) == 3 else []),
        "#endif /* NET_IMPLEMENTATION */",
        self_test(subject, program, found),
        "#endif /* NET_H */\n",
    ]
    code = "\n\n".join(filter(None, body))
    if not subject.classes:
        code = re.sub(r"/\* A random class(.|\n)*?\n}\n\n", "", code)
    code = re.sub(r"\bnet_", f"{prefix}_", code)
    return _comment(subject, program, name, prefix) + re.sub(r"\bNET_", f"{prefix.upper()}_", code)


def _identifier(name: str) -> str:
    """A prefix of names in C, from that of a file: digits-2.h becomes digits_2."""
    plain = unicodedata.normalize("NFKD", Path(name).stem).encode("ascii", "ignore").decode()
    words = re.sub(r"[^A-Za-z0-9]+", "_", plain).strip("_")[:40].strip("_")
    return words if words[:1].isalpha() else f"net_{words}".rstrip("_")


def _plain(text: str) -> str:
    """A text fit for a comment in C: ASCII, on one line, without ends or beginnings of comments and trigraphs."""
    text = re.sub(r"\s+", " ", text).encode("ascii", "backslashreplace").decode()
    for pair in ("*/", "/*", "??"):
        text = text.replace(pair, f"{pair[0]} {pair[1]}")
    return re.sub(r"[\x00-\x1f\x7f]", "?", text).replace("\\", "|")


def _comment(subject: Subject, program: Program, name: str, prefix: str) -> str:
    """The comment at the head of the file."""
    image, upper = len(program.graph.output_shape) == 3, prefix.upper()
    if subject.from_noise:
        label = ", -1" if subject.classes else "" if program.graph.condition_shape is None else ", condition"
        call = f"{prefix}_sample(7, 0{label}, scratch);  // seed 7, its first picture"
    else:
        call = f"{prefix}_generate(image, scratch);"
    rows = f"\n     {prefix}_rows(picture, draw_row, 0);  // calls draw_row for each row of bytes" if image else ""
    return f"""\
/* {_plain(name)}: {_plain(subject.title)}.

   Written by minigan {minigan.__version__}. C99 and C++; it needs math.h alone, allocates nothing and writes to no
   global. In one C file of a program:

     #define {upper}_IMPLEMENTATION
     #include "{_plain(name).replace('"', "?")}"

     static float scratch[{upper}_SCRATCH];
     float *picture = {call}{rows}

   {_sizes(program)}.
   Test it: cc -O2 -x c -DMINIGAN_SELF_TEST FILE -lm && ./a.out */
"""


def _declarations(subject: Subject, program: Program) -> str:
    graph, shape = program.graph, program.graph.output_shape
    sizes = {"HEIGHT": shape[0], "WIDTH": shape[1], "CHANNELS": shape[2]} if len(shape) == 3 else {"SIZE": prod(shape)}
    if subject.from_noise:
        sizes["LATENT"] = prod(graph.input_shape)
    else:
        sizes |= dict(zip(("IN_HEIGHT", "IN_WIDTH", "IN_CHANNELS"), graph.input_shape, strict=False))
    if subject.classes:
        sizes["CLASSES"] = subject.classes
    lines = [f"#define NET_{name} {value}" for name, value in sizes.items()]
    lines.append(f"#define NET_SCRATCH {max(program.plan.size, 1)} /* numbers of type float */")
    what = f"[{']['.join(map(str, shape))}]" + (" from -1 to 1" if len(shape) == 3 else "")
    functions = [
        f"/* Draws {what}, which lie in the scratch memory until the next call{_given(subject, graph)}. */",
        f"float *net_generate({_parameters(subject, graph)});",
    ]
    if subject.from_noise:
        random = " Class -1 is a random one." if subject.classes else ""
        functions += [
            f"/* The same of portable noise: the sample of a seed with that number, counted from 0.{random} */",
            f"float *net_sample({_parameters(subject, graph, sample=True)});",
        ]
    if len(shape) == 3:
        functions += [
            "/* Turns a picture into rows of bytes, top first, in its own memory, and calls `row` for each. */",
            "void net_rows(float *picture, void (*row)(int y, const unsigned char *bytes, void *user), void *user);",
        ]
    head = "#ifndef NET_H\n#define NET_H\n\n#include <math.h>\n#include <stdint.h>"
    opened, closed = ("#ifdef __cplusplus\n" + text + "\n#endif" for text in ('extern "C" {', "}"))
    if subject.class_names:
        functions.append("extern const char *const net_class_names[NET_CLASSES]; /* in UTF-8 */")
    return "\n\n".join([head, "\n".join(lines), opened, "\n".join(functions), closed])


def _given(subject: Subject, graph: g.Graph) -> str:
    """The input, in words for a comment."""
    shape = f"[{']['.join(map(str, graph.input_shape))}]"
    condition = (
        "" if subject.classes or graph.condition_shape is None else f", condition [{prod(graph.condition_shape)}]"
    )
    if subject.from_noise:
        return f"; z {shape} from N(0, 1){condition}"
    return (
        f"; from an image {shape}{condition}" if len(graph.input_shape) == 3 else f"; from numbers {shape}{condition}"
    )


def _parameters(subject: Subject, graph: g.Graph, *, sample: bool = False) -> str:
    """Parameters of a function."""
    first = "const float *z" if subject.from_noise else "const float *image"
    condition = ["const float *condition"] * (graph.condition_shape is not None)
    given = ["uint64_t seed", "uint32_t number"] if sample else [first]
    return ", ".join([*given, *(["int label"] if subject.classes else condition), "float *scratch"])


# ---------------------------------------------------------------------------------------------- its parts


def _weights(program: Program) -> str:
    """The types of weights, and the arrays."""
    kind = program.kind
    parts = [RESTRICT]
    if program.weights:
        stored = np.concatenate([array.ravel() for array in program.weights])
        parts.append(f"typedef {TYPES.get(kind, 'float')} net_weight;\n#define NET_VALUE(w) {VALUES[kind]}")
        if kind == "fp32":
            parts.append(_words("net_weights", stored))
        else:
            text = (f"0x{n:04x}" for n in stored.view(np.uint16)) if kind == "fp16" else map(str, stored.tolist())
            values = _lines(text, 16)
            parts.append(
                f"static const struct {{ net_weight values[{stored.size}]; }} net_weights = {{{{\n{values}\n}}}};"
            )
    if program.numbers:
        parts.append(_words("net_numbers", np.concatenate([array.ravel() for array in program.numbers])))
    return "\n\n".join(parts)


def _words(name: str, numbers: np.ndarray) -> str:
    """Numbers as words of 32 bits, which compilers read faster than decimals, and exactly."""
    values = _lines((f"0x{word:08x}" for word in numbers.astype(np.float32).view(np.uint32).tolist()), 10)
    size = numbers.size
    return f"static const union {{ uint32_t words[{size}]; float values[{size}]; }} {name} = {{{{\n{values}\n}}}};"


def _lines(values: Iterable[str], per_line: int) -> str:
    every = list(values)
    return ",\n".join(",".join(every[at : at + per_line]) for at in range(0, len(every), per_line))


def _functions(called: str, program: Program) -> list[str]:
    """The functions that are called there, and those that these call; then a layer's own."""
    of_filters = ["net_filter", VALUES[program.kind]] if program.filters else []
    called = "\n".join([called, *program.functions.values(), *of_filters])
    kept: list[str] = []
    for name, source in reversed(library().items()):  # a function calls such as stand above it
        if re.search(rf"\b{name}\b", called):
            kept.insert(0, source)
            called += source
    return [*kept, *program.functions.values()]


def _names(names: tuple[str, ...]) -> str:
    """The names of the classes."""
    if not names:
        return ""
    values = ", ".join(f'"{"".join(map(_character, name.encode(errors="replace")))}"' for name in names)
    return f"const char *const net_class_names[NET_CLASSES] = {{{values}}};"


def _character(byte: int) -> str:
    """A byte in a string of C; those that mean something there, or are not ASCII, by number."""
    return chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}"


def _table(program: Program) -> str:
    if not program.filters:
        return ""
    lines = [f"    {initializer}, /* {n} */" for n, initializer in enumerate(program.filters)]
    title = "/*    H    W    C    P    Q    K    R    S  down across top left  w, scale, b */"
    return "\n".join([f"static const net_filter net_filters[{len(lines)}] = {{", f"    {title}", *lines, "};"])


def _generate(subject: Subject, program: Program) -> str:
    """The function that evaluates the network."""
    lines = [f"float *net_generate({_parameters(subject, program.graph)})", "{"]
    if subject.classes:
        lines += [
            f"    float *condition = scratch + {program.plan.offsets[g.CONDITION]};",
            "    for (int i = 0; i < NET_CLASSES; i++)",
            "        condition[i] = i == label ? 1.0f : 0.0f;",
        ]
    for statement, shapes in program.statements:
        first, *others = statement.splitlines()
        comment = f" /* {shapes} */" if shapes else ""
        lines += [f"    {first}{comment}", *(f"    {line}" for line in others)]
    return "\n".join([*lines, f"    return {program.place(program.graph.output)};", "}"])


def _sample(subject: Subject, program: Program) -> str:
    condition = "" if program.graph.condition_shape is None else "condition, "
    if subject.classes:
        condition = "label < 0 ? net_random_class(seed, number, NET_CLASSES) : label, "
    z = f"scratch + {program.plan.offsets[g.INPUT]}"
    return (
        f"float *net_sample({_parameters(subject, program.graph, sample=True)})\n{{\n"
        f"    net_noise(seed, number, {z}, NET_LATENT);\n    return net_generate({z}, {condition}scratch);\n}}"
    )


RESTRICT = """\
#ifndef NET_RESTRICT /* for a compiler that does not know it: -DNET_RESTRICT= */
#define NET_RESTRICT __restrict
#endif"""

ROWS = """\
void net_rows(float *picture, void (*row)(int y, const unsigned char *bytes, void *user), void *user)
{
    for (int y = 0; y < NET_HEIGHT; y++, picture += NET_WIDTH * NET_CHANNELS) {
        unsigned char *bytes = (unsigned char *)picture; /* a byte never overtakes the number that it comes from */
        for (int i = 0; i < NET_WIDTH * NET_CHANNELS; i++) {
            const float level = (picture[i] + 1) * 127.5f + 0.5f;
            bytes[i] = (unsigned char)(level > 0 ? level < 255 ? level : 255 : 0);
        }
        row(y, bytes, user);
    }
}"""
