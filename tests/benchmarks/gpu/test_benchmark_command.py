"""The whole command, its parts in this process."""

import itertools
import json
import time

import pytest
from fake_device import SMALL, FakeDevice, Wrong

from benchmarks import gpu, gpu_part, gpu_steps, gpu_validate
from benchmarks.gpu_part import Finding
from minigan.errors import BackendError

ROW = {"kernel": "conv2d", "sizes": "odd", "precision": "tf32", "error": 1e-7, "tolerance": 1e-5, "right": True}
TESTED = {"complete": True, "passed": 3, "failed": 0, "summary": "3 passed in 1s", "failures": []}


@pytest.fixture
def whole(monkeypatch, tmp_path):
    """The command with all its parts in this process; gives the file, and runs it."""
    monkeypatch.setattr(gpu, "find", FakeDevice)
    monkeypatch.setattr(gpu, "gpu_tests", lambda until: TESTED)  # noqa: ARG005
    monkeypatch.setattr(gpu, "prewarm", lambda seconds: {"modules": 1, "seconds": seconds, "failures": []})
    parts = []

    def here(part, *, until, quick):
        assert until > time.monotonic()
        parts.append(part)
        for item in itertools.islice(gpu_part.part_items(part, FakeDevice(), quick=quick), 2):
            yield gpu_part.finding(item)

    monkeypatch.setattr(gpu, "findings", here)
    file = tmp_path / "new" / "result.json"

    def run(*arguments):
        code = gpu.main(["--out", str(file), *arguments])
        return code, json.loads(file.read_text()), parts

    return run


@pytest.mark.usefixtures("tiny", "small")
def test_the_whole_command(whole, monkeypatch, capsys):
    monkeypatch.setattr(gpu_steps, "has_torch", lambda: False)
    monkeypatch.setattr(gpu, "WORKLOADS", SMALL)
    code, document, parts = whole("--quick")
    printed = capsys.readouterr()
    assert code == 0
    assert parts == [
        "validate",
        "kernels/tf32",
        *(f"steps/{workload}/tf32/{engine}" for workload in SMALL for engine in ("minigan", "torch")),
    ]
    assert document["format"] == "minigan-gpu-benchmark/1"
    assert document["setting"]["card"] == "Card"
    assert [len(document[name]) for name in ("validate", "kernels", "limits")] == [6, 3, 1]
    assert document["tests"] == TESTED
    assert document["prewarm"]["modules"] == 1
    assert {row["workload"] for row in document["steps"]} == set(SMALL)
    assert {row["part"] for row in document["failures"]} >= {f"steps/{name}/tf32/torch" for name in SMALL}
    assert document["targets"][0]["met"]
    assert set(document["seconds"]) == set(gpu.SECTIONS)
    assert printed.out.startswith("## Card, ")
    assert "- met: kernels that differ from the reference: 0" in printed.out.splitlines()


def test_wrong_numbers_are_the_exit_code(whole, monkeypatch):
    monkeypatch.setattr(FakeDevice, "backend", lambda *_: Wrong())
    monkeypatch.setattr(gpu_validate, "KERNELS", ("conv2d_input_grad",))
    code, document, parts = whole("--sections", "validate")
    assert (code, parts) == (1, ["validate"])
    assert not document["targets"][0]["met"]
    assert "steps" not in document


def test_when_the_time_is_up_the_rest_is_told_as_left_out(whole):
    code, document, parts = whole("--sections", "validate,kernels", "--minutes", "1e-9")
    assert (code, parts) == (0, [])
    assert [row["part"] for row in document["failures"]] == ["validate", "kernels/tf32", "kernels/bf16"]
    assert all(row["cut_off"] for row in document["failures"])
    assert [target["met"] for target in document["targets"]][:2] == [None, None]


def test_each_finding_is_written_at_once(tmp_path):
    results = gpu.Results(tmp_path / "r.json", {}, ["validate"])
    for count in (1, 2):
        results.add("validate", Finding("item", [ROW]))
        assert len(json.loads(results.path.read_text())["validate"]) == count
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_without_a_gpu_there_is_one_line(monkeypatch, capsys):
    def none():
        raise BackendError("cupy 14 finds no GPU. Use another backend.")

    monkeypatch.setattr(gpu, "find", none)
    assert gpu.main([]) == 2
    assert capsys.readouterr() == ("", "benchmarks.gpu needs a CUDA GPU: cupy 14 finds no GPU. Use another backend.\n")


def test_options(capsys):
    assert gpu.parser().parse_args(["--sections", "tests,steps"]).sections == ["tests", "steps"]
    assert gpu.default_path("NVIDIA H100 80GB HBM3").name.endswith("-nvidia-h100-80gb-hbm3.json")
    for arguments, message in (
        (["--sections", "all"], "expected some of validate,kernels,steps,tests, got 'all'"),
        (["--minutes", "0"], "must be a positive number of seconds"),
        (["--precision", "fp8"], "invalid choice: 'fp8'"),
    ):
        with pytest.raises(SystemExit) as stop:
            gpu.main(arguments)
        assert stop.value.code == 2
        assert message in capsys.readouterr().err
