"""Compilation: nothing before it is needed, kept on disk where possible, and keyed by all that it depends on."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")

import numba

from minigan.backends.cpu import CpuBackend, jit, precompile, simd

PROBE = """
import logging, sys
logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
import numpy as np
from minigan.backends import get_backend
backend = get_backend("cpu")
y = backend.leaky_relu(np.array([-1.0, 2.0], np.float32), slope=0.5)
assert y.tolist() == [-0.5, 2.0]
from minigan.backends.cpu.activation import leaky
print(sum(leaky.stats.cache_hits.values()), sum(leaky.stats.cache_misses.values()))
"""


def probe(tmp_path, cache_dir, **environment):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", PROBE], check=False, capture_output=True, text=True, cwd=tmp_path,
        env=os.environ | {"NUMBA_CACHE_DIR": str(cache_dir), "PYTHONPATH": os.pathsep.join(sys.path)} | environment,
    )  # fmt: skip


def test_the_second_process_loads_what_the_first_compiled_for_vectors_of_its_width(tmp_path):
    other = str(16 if simd.VECTOR_BYTES != 16 else 32)
    assert probe(tmp_path, tmp_path / "cache").stdout == "0 1\n"
    assert probe(tmp_path, tmp_path / "cache", MINIGAN_VECTOR_BYTES=other).stdout == "0 1\n"
    assert probe(tmp_path, tmp_path / "cache").stdout == "1 0\n"


def doubled(x):
    return x + x


@pytest.fixture
def another_process(monkeypatch, tmp_path):
    """Calls a kernel as a process that has just begun does; tells how often it was loaded, and how often compiled."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))

    def run():
        kernel = jit.kernel(doubled)
        assert kernel(21) == 42
        return sum(kernel.stats.cache_hits.values()), sum(kernel.stats.cache_misses.values())

    return run


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", ["empty", "truncated", "rubbish"])
def test_a_damaged_cache_is_written_anew(tmp_path, another_process, caplog, suffix, damage):
    assert another_process() == (0, 1)
    (path,) = (tmp_path / "cache").rglob(f"*.doubled-*.{suffix}")
    code = path.read_bytes()
    path.write_bytes({"empty": b"", "truncated": code[: len(code) // 2], "rubbish": b"?" * 100}[damage])
    assert another_process() == (0, 1)
    assert not caplog.records
    assert another_process() == (1, 0)


def test_an_index_that_names_a_type_that_is_gone_is_not_read(tmp_path, another_process):
    """As it stands there after minigan was replaced by another version of it."""
    assert another_process() == (0, 1)
    (path,) = (tmp_path / "cache").rglob("*.doubled-*.nbi")
    gone = b"cminigan.backends.cpu.plan\nThatIsGone\n."
    path.write_bytes(pickle.dumps(numba.__version__) + gone)
    assert another_process() == (0, 1)
    assert another_process() == (1, 0)


def test_without_a_cache_folder_kernels_still_run_and_one_line_says_so(tmp_path):
    """No locator finds a folder: the user's is below a file, and so is every other candidate's."""
    (tmp_path / "file").touch()
    blocked = tmp_path / "file" / "cache"
    result = probe(
        tmp_path, blocked, HOME=str(blocked), XDG_CACHE_HOME=str(blocked),
        NUMBA_CACHE_LOCATOR_CLASSES="UserProvidedCacheLocator",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("WARNING minigan") == 1
    assert "Set NUMBA_CACHE_DIR to a writable folder." in result.stderr


def test_processes_that_save_at_once_find_their_own_code(tmp_path):
    """The second begins before the first has saved, and ends before the first does."""
    first, second = (jit.CacheFile(str(tmp_path), "function", "stamp") for _ in range(2))
    save_data = first._save_data

    def late(name, data):
        second.save("float64", "code for float64")
        save_data(name, data)

    first._save_data = late
    first.save("float32", "code for float32")
    found = jit.CacheFile(str(tmp_path), "function", "stamp")
    assert found.load("float64") == "code for float64"
    assert found.load("float32") == "code for float32"


def test_importing_the_package_compiles_nothing():
    code = "import minigan.backends.cpu.conv as c, minigan.backends.cpu.correlate as d; print(d.correlate.signatures)"
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert result.stdout == "[]\n"


def test_the_fingerprint_is_of_the_whole_package(monkeypatch, tmp_path):
    before = jit.fingerprint.__wrapped__()
    assert before == jit.fingerprint()
    for path in Path(jit.__file__).parent.glob("*.py"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(jit, "__file__", str(tmp_path / "jit.py"))
    assert jit.fingerprint.__wrapped__() == before
    with open(tmp_path / "simd.py", "a", encoding="utf-8") as file:
        file.write("# another line")
    assert jit.fingerprint.__wrapped__() != before


def test_describe_and_coverage():
    assert CpuBackend(threads=3).describe().endswith(f"({simd.VECTOR_BYTES}-byte vectors), 3 threads, fp32")
    assert CpuBackend(threads=1).describe().endswith("1 thread, fp32")
    assert {row.origin for row in CpuBackend().coverage()} == {"native"}


def test_the_number_of_threads_is_numbas():
    code = "from minigan.backends import get_backend; print(get_backend('cpu').team.size)"
    environment = os.environ | {"NUMBA_NUM_THREADS": "1"}
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True,
                          env=environment).stdout == "1\n"  # fmt: skip


LATE = """
from minigan.backends.cpu import CpuBackend, precompile, winograd, correlate, norm, activation, optim
from minigan.backends.cpu import depthwise, groups, image_lanes, winograd_groups
rooms = (depthwise, groups, image_lanes, winograd_groups)
in_groups = [kernel for room in rooms for kernel in vars(room).values()
             if hasattr(kernel, "signatures") and kernel.__module__ == room.__name__]
assert len(in_groups) > 10
late = (winograd.convolve, winograd.convolve_weights, correlate.correlate_weights, norm.gradient_sums,
        norm.input_gradient, activation.leaky_gradient, activation.tanh_gradient, optim.adam)

def tell():
    print(*sorted(f"{kernel.__name__}{types}" for kernel in late for types in kernel.signatures), sep="; ")
"""
STEP = """
from minigan.backends import get_backend
from minigan.cli.measurements import random_images, training_step
training_step("dcgan28", get_backend("cpu"))(random_images("dcgan28", 64))
assert all(kernel.signatures for kernel in late)
assert not any(kernel.signatures for kernel in in_groups)
tell()
"""
BEGIN = "from minigan.backends.cpu import precompile as p; process = p.begin(); print(process and process.wait())"
KEPT = """
print(*(f"{kernel.__name__}{key[0]}" for kernel in late for key in kernel._cache._cache_file._load_index()), sep="\\n")
"""


def output_of(code, **environment):
    paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=os.environ | paths | environment
    ).stdout


@pytest.mark.exhaustive
def test_what_a_training_step_comes_to_last_is_compiled_beforehand_for_the_very_types():
    """In one process: the step adds no types to those that the second process compiles."""
    compiled = LATE + "precompile.compile_late_kernels(CpuBackend(threads=1))\ntell()"
    before, after = output_of(compiled + STEP).splitlines()
    assert before == after


def test_a_second_process_compiles_until_the_cache_is_warm(monkeypatch):
    """With this process's cache, as if it were cold at first: what is compiled is there for other tests."""
    monkeypatch.setattr(precompile, "default_threads", lambda: 2)
    monkeypatch.setattr(precompile.atexit, "register", lambda _: None)
    with monkeypatch.context() as cold:
        cold.setattr(jit.KeyedCache, "is_warm", lambda _: False)
        process = precompile.begin()
    assert process.wait() == 0
    assert precompile.convolve_weights._cache.is_warm()
    assert precompile.begin() is None


@pytest.mark.exhaustive
def test_the_second_process_compiles_what_a_training_step_comes_to_last(tmp_path):
    """From a cache that is cold; and once they are there, no process is started."""
    cold = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    for expected in ("0", "None"):
        assert output_of(BEGIN, NUMBA_NUM_THREADS="2", **cold) == expected + "\n"
    (called,) = output_of(LATE + STEP).splitlines()
    assert set(called.split("; ")) <= set(output_of(LATE + KEPT, **cold).splitlines())


def test_one_thread_compiles_in_one_process(tmp_path):
    code = "from minigan.backends.cpu import precompile; print(precompile.begin())"
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_NUM_THREADS": "1"}
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    assert result.stdout == "None\n"
