"""Messages about a GPU that cannot be used, its memory, and the choice of a backend; on the stand-in."""

import builtins
import json
import re
import sys

import numpy as np
import pytest
from fake_cuda import DEVICE, CompileException, CUDARuntimeError, OutOfMemoryError
from test_gpu_graphs import Training, opened, train

from minigan import errors
from minigan.backends import Backend, get_backend
from minigan.cli.command_line import main
from minigan.errors import BackendError, MissingExtraError
from minigan.nn.layers import Conv2D, Dense, Flatten
from minigan.nn.network import Sequential
from minigan.training.out_of_memory import out_of_memory, size
from minigan.training.rhythm import Rhythm


def failing(error: Exception):
    def fail(*_args, **_options):
        raise error

    return fail


@pytest.mark.parametrize(
    ("status", "driver", "told"),
    [
        (35, 0, r"no NVIDIA driver\. Install one"),
        (35, 12040, r"driver is for CUDA 12\.4, cupy for CUDA 13\.2\. Update .* pip install 'minigan\[cuda12\]'"),
        (100, 13000, r"the driver shows none\. Look at nvidia-smi"),
        (999, 13000, r"finds no usable GPU: what CUDA says\. Use another backend"),
    ],
)
def test_a_missing_driver_or_device_is_told_in_one_line(device: Backend, monkeypatch, status, driver, told):
    runtime = device.xp.cuda.runtime
    monkeypatch.setattr(runtime, "getDeviceCount", failing(CUDARuntimeError("what CUDA says", status)))
    monkeypatch.setattr(runtime, "driverGetVersion", lambda: driver)
    with pytest.raises(BackendError, match=told) as error:
        get_backend("gpu")
    assert "\n" not in str(error.value)
    assert get_backend("auto").name != "gpu"


@pytest.mark.parametrize(
    ("function", "error", "told"),
    [
        ("ones", CompileException('\ncupy.cu(4): error: cannot open source file "cuda_fp16.h"\n'), "cuda_fp16"),
        ("ones", RuntimeError("Failure finding libnvrtc.so.13: No such file"), "libnvrtc"),
        ("asnumpy", ImportError("Failure finding libcublasLt.so.13"), "libcublasLt"),
    ],
    ids=["headers", "NVRTC", "cuBLAS"],
)
def test_what_cuda_lacks_is_named_with_the_extra(device: Backend, monkeypatch, function, error, told):
    monkeypatch.setattr(device.xp, function, failing(error))
    with pytest.raises(BackendError, match=rf"cannot compute .*: .*{told}.* pip install 'minigan\[cuda13\]'") as raised:
        get_backend("gpu")
    assert "\n" not in str(raised.value)


def test_a_gpu_that_is_full_is_not_chosen(device: Backend, monkeypatch):
    monkeypatch.setattr(device.xp, "ones", failing(OutOfMemoryError("Out of memory allocating 512 bytes.")))
    with pytest.raises(BackendError, match=r"the GPU's memory is full: Out of memory allocating 512 bytes"):
        get_backend("gpu")


def test_a_cupy_that_cannot_be_imported_is_not_called_missing(monkeypatch):
    imported = builtins.__import__

    def importing(name, *args, **options):
        if name == "cupy":
            raise ImportError("=====\nFailed to import CuPy.\n=====") from OSError("libfoo.so.1: no such file")
        return imported(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", importing)
    with pytest.raises(BackendError, match=r"installed, but cannot be imported: libfoo\.so\.1: no such file") as raised:
        get_backend("gpu")
    assert not isinstance(raised.value, MissingExtraError)


def test_auto_says_what_it_chose(device: Backend, monkeypatch, tmp_path, capsys):
    arguments = ["train", "--steps", "1", "--batch-size", "4", "--set", "width=2"]
    assert main([*arguments, "--out", str(tmp_path / "gpu")]) == 0
    assert "--backend auto chose the GPU; --backend cpu trains on the CPU." in capsys.readouterr().out
    monkeypatch.setattr(device.xp.cuda.runtime, "getDeviceCount", lambda: 0)
    assert main([*arguments, "--out", str(tmp_path / "cpu")]) == 0
    assert "cupy 0 (a stand-in) finds no GPU. Use another backend." in capsys.readouterr().out
    assert main([*arguments, "--out", str(tmp_path / "asked"), "--backend", "reference"]) == 0
    assert "--backend auto" not in capsys.readouterr().out
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert main([*arguments, "--out", str(tmp_path / "none")]) == 0
    assert "--backend auto" not in capsys.readouterr().out


# ---------------------------------------------------------------------------------------------- memory


def test_pools_are_counted_and_emptied(device: Backend):
    device.free_memory()
    before = device.memory()
    array = device.empty((1000,), np.dtype(np.float64))
    used = device.memory()
    assert used.used == before.used + 8000
    del array
    assert device.memory().used == before.used
    assert device.memory().held == used.held, "a pool keeps what is freed"
    device.free_memory()
    assert device.memory().held == before.used
    assert device.memory().peak >= used.held
    assert get_backend("reference").memory() is None


def test_the_memory_of_graphs_counts_too(device: Backend):
    training = Training("mlp", device)
    training.steps(2)
    (graphs,) = device.all_graphs
    assert device.memory().held == DEVICE.default_pool.total_bytes() + graphs.pool.total_bytes()
    assert graphs.pool.total_bytes() > 0


@pytest.mark.usefixtures("device")
def test_the_log_tells_of_the_gpus_memory(tmp_path):
    train(opened(tmp_path / "run", steps=2, rhythm=Rhythm()))
    logged = [json.loads(line)["gpu_memory"] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert len(logged) == 2
    assert min(logged) > 100_000


@pytest.mark.usefixtures("device")
def test_too_large_a_batch_is_told_with_the_largest_arrays(tmp_path):
    run = opened(tmp_path / "run", steps=4, rhythm=Rhythm())
    DEVICE.default_pool.limit = DEVICE.default_pool.used + 20_000
    with pytest.raises(errors.OutOfMemoryError) as raised:
        train(run)
    told = r"out of memory with batches of 4: Out of memory allocating .*\. The largest outputs are those of "
    largest = r"D\.0\.ConcatCondition \(4, 28, 28, 11\) 138 kB, G\.\d+\.\w+ \(4, .*\) .* kB, "
    assert re.match(told + largest + r".*Use a smaller `batch_size`", str(raised.value))


def test_the_largest_outputs_are_named():
    network = Sequential([Conv2D(8, 3), Conv2D(3, 3), Flatten(), Dense(1)], name="D")
    network.build((10, 10, 1), backend="reference", rng=np.random.default_rng(0))
    error = out_of_memory(MemoryError("too little."), {"D": network}, batch_size=1000)
    assert str(error).startswith(
        "out of memory with batches of 1000: too little. The largest outputs are those of D.0.Conv2D (1000, 10, 10, 8) "
        "3.2 MB, D.2.Flatten (1000, 300) 1.2 MB, D.1.Conv2D (1000, 10, 10, 3) 1.2 MB. Use a smaller"
    )
    assert isinstance(error, MemoryError)


@pytest.mark.parametrize(
    ("nbytes", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (2 * 10**9, "2 GB")]
)
def test_sizes_are_readable(nbytes, text):
    assert size(nbytes) == text


@pytest.mark.usefixtures("device")
def test_info_shows_the_pools(capsys):
    assert main(["info"]) == 0
    assert "memory: 1 GB of 2 GB free;" in capsys.readouterr().out
