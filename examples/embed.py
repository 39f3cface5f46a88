"""A program with an embedded generator: a web server that draws pictures on request.

    minigan train --out run
    python examples/embed.py --run run --port 8000       # then open http://localhost:8000/?count=16&seed=7
    python examples/embed.py --steps 300                 # trains a small one and requests a picture from its own server

The threads of the server share one generator and take turns: each drawing already uses all cores, or the GPU.
"""

import argparse
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen

import numpy as np

import minigan
from minigan.data import encode_png
from minigan.recipes import DCGAN
from minigan.runs import TrainedGenerator
from minigan.training import render

MOST = 100  # pictures in a response


def png(generator: TrainedGenerator, query: str) -> bytes:
    """Draws the pictures for a query such as `count=16&seed=7`, in a grid.

    Raises:
        ValueError: the query is something else. (Every error that minigan raises for a wrong value is a ValueError.)
    """
    asked = {name: int(values[0]) for name, values in parse_qs(query, strict_parsing=bool(query)).items()}
    count = asked.get("count", 1)
    if not 1 <= count <= MOST:
        raise ValueError(f"count must be from 1 to {MOST}, got {count}")
    rng = np.random.default_rng(asked.get("seed"))
    samples = generator.samples(rng, count, label=asked.get("class"))
    return encode_png(render(samples, extent=generator.extent))


def handler(draw: Callable[[str], bytes]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                kind, content, status = "image/png", draw(urlsplit(self.path).query), 200
            except ValueError as error:
                kind, content, status = "text/plain", f"{error}\n".encode(), 400
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return Handler


def server(generator: TrainedGenerator, port: int) -> ThreadingHTTPServer:
    """A server that listens on this machine; port 0 takes a free one."""
    turn = threading.Lock()

    def draw(query: str) -> bytes:
        with turn:
            return png(generator, query)

    return ThreadingHTTPServer(("127.0.0.1", port), handler(draw))


def trained(steps: int) -> TrainedGenerator:
    """A small generator of digits: trained here, saved as in a run, and loaded as any program would load it."""
    rng = np.random.default_rng(0)
    recipe = DCGAN(width=16, batch_size=32)
    digits = recipe.open_data("digits", seed=0)
    gan = recipe.assemble(digits.shape, rng=rng)
    with recipe.loader(digits, seed=0) as batches:
        for _ in range(steps):
            gan.step(batches, rng)
    with TemporaryDirectory() as folder:
        minigan.save_generator(Path(folder) / "model.safetensors", gan.G, recipe, step=steps)
        return minigan.load_generator(folder)


def main(steps: int, out: Path) -> None:
    with server(trained(steps), port=0) as serving:
        threading.Thread(target=serving.serve_forever).start()
        try:
            with urlopen(f"http://127.0.0.1:{serving.server_port}/?count=16&seed=7", timeout=60) as answer:
                out.write_bytes(answer.read())
        finally:
            serving.shutdown()
    print(f"16 digits drawn by a server: {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--run", type=Path, help="run folder to serve (default: a small generator, as a demonstration)")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--out", type=Path, default=Path("embed.png"))
    options = parser.parse_args()
    if options.run is None:
        main(options.steps, options.out)
        sys.exit()
    try:
        with server(minigan.load_generator(options.run), options.port) as serving:
            print(f"http://127.0.0.1:{serving.server_port}/?count=16")
            serving.serve_forever()
    except KeyboardInterrupt:
        pass
    except (minigan.MiniganError, OSError) as error:
        sys.exit(f"embed: {error}")
