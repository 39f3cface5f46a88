"""The commands `minigan bench` and `minigan warmup`."""

import argparse

from minigan.backends import get_backend
from minigan.cli.measurements import MODELS, measure_model, warm_up
from minigan.errors import ConfigError
from minigan.support.output import Output

__all__ = ["bench", "warmup"]


def bench(options: argparse.Namespace) -> int:
    """Measures the speed of training steps and of sampling."""
    out = Output.of(options)
    models = options.models or ["mlp", "dcgan28", "dcgan32", "dcgan64"]
    for model in models:
        if model not in MODELS:
            raise ConfigError(f"unknown model {model!r}: expected some of {', '.join(MODELS)}. Choose among them.")
    backend = get_backend(options.backend, precision=options.precision)
    out.show(backend.describe())
    out.show(f"{'model':10} {'work':7} {'batch':>5} {'ms':>9} {'images/s':>10}")
    rows, turns = [], {"rounds": options.rounds, "seconds": options.seconds}
    for model in models:
        for row in measure_model(model, backend, batch_size=options.batch_size, **turns):
            rows.append(row._asdict())
            speed = f"{row.milliseconds:9.2f} {row.images_per_second:10,.0f}"
            out.show(f"{row.model:10} {row.work:7} {row.batch_size:5} {speed}")
    out.record({"backend": backend.describe(), "precision": backend.precision, "measurements": rows})
    return 0


def warmup(options: argparse.Namespace) -> int:
    """Compiles all kernels."""
    backend = get_backend(options.backend, precision=options.precision)
    seconds = warm_up(backend)
    out = Output.of(options)
    out.show(f"{backend.describe()}: all kernels ready after {seconds:.1f} s")
    out.record({"backend": backend.describe(), "precision": backend.precision, "seconds": seconds})
    return 0
