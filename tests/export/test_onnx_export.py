"""Generators as ONNX files: ONNX Runtime draws the same images."""

import sys
from pathlib import Path

import numpy as np
import pytest
from export_cases import CASES, Case, inputs

from minigan.cli.command_line import main
from minigan.errors import ConfigError, MissingExtraError
from minigan.export import FORMATS, ExportOptions, Subject
from minigan.export.evaluation import evaluate
from minigan.export.fewer_bits import in_bits
from minigan.export.graph import BatchNorm, Linear, fold_batch_norms

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def written(case: Case, path: Path, **options) -> tuple[Subject, "onnx.ModelProto"]:
    subject = case.subject()
    FORMATS["onnx"].write(subject, path, ExportOptions(**options))
    return subject, onnx.load(path)


def session(model: "onnx.ModelProto") -> "onnxruntime.InferenceSession":
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def channels_first(x: np.ndarray) -> np.ndarray:
    return np.moveaxis(x, -1, 1)


def run(model: "onnx.ModelProto", x: np.ndarray, c: np.ndarray | None, *, layout: str) -> np.ndarray:
    """The model's images in minigan's layout."""
    turn = channels_first if layout == "nchw" else lambda t: t
    runtime = session(model)
    feed = dict(zip([i.name for i in runtime.get_inputs()], map(turn, (x,) if c is None else (x, c)), strict=True))
    (y,) = runtime.run(None, {name: np.ascontiguousarray(t) for name, t in feed.items()})
    return np.moveaxis(y, 1, -1) if layout == "nchw" else y


@pytest.mark.parametrize(("fold", "opset", "layout"), [(True, 17, "nchw"), (False, 21, "nhwc")])
@pytest.mark.parametrize("name", CASES)
def test_the_same_images(name: str, fold: bool, opset: int, layout: str, tmp_path: Path):
    """Batches of two sizes by the same file."""
    subject, model = written(CASES[name], tmp_path / "g.onnx", fold=fold, opset=opset, layout=layout)
    assert [(i.domain, i.version) for i in model.opset_import] == [("", opset)]
    x, c = inputs(subject)
    expected = CASES[name].expected(subject, x, c)
    np.testing.assert_allclose(run(model, x, c, layout=layout), expected, rtol=1e-5, atol=1e-5)
    one = run(model, x[:1], None if c is None else c[:1], layout=layout)
    np.testing.assert_allclose(one, expected[:1], rtol=1e-5, atol=1e-5)
    norms = sum(isinstance(op, BatchNorm) for op in subject.graph(to="onnx").ops)
    assert sum(node.op_type == "BatchNormalization" for node in model.graph.node) == (0 if fold else norms)


@pytest.mark.parametrize(("weights", "fold", "layout"), [("fp16", True, "nchw"), ("int8", False, "nhwc")])
@pytest.mark.parametrize("name", ["dcgan with classes", "spectral norm", "gaps and groups", "mlp of points"])
def test_weights_in_fewer_bits(name: str, weights: str, fold: bool, layout: str, tmp_path: Path):
    """ONNX Runtime has the very numbers that the quality was told of."""
    subject, model = written(CASES[name], tmp_path / "g.onnx", weights=weights, fold=fold, layout=layout)
    graph = subject.graph(to="onnx")
    graph = in_bits(fold_batch_norms(graph) if fold else graph, weights)
    x, c = inputs(subject)
    expected = evaluate(graph, x, c)
    np.testing.assert_allclose(run(model, x, c, layout=layout), expected, rtol=1e-5, atol=1e-5)
    assert not np.array_equal(expected, CASES[name].expected(subject, x, c))
    kinds = [onnx.helper.tensor_dtype_to_np_dtype(constant.data_type) for constant in model.graph.initializer]
    narrow = {"fp16": np.float16, "int8": np.int8}[weights]
    assert kinds.count(narrow) == sum(isinstance(op, Linear) for op in graph.ops)


@pytest.mark.parametrize("opset", range(17, 22))
def test_every_opset_of_a_graph_with_most_operators(opset: int, tmp_path: Path):
    for name in ("sngan with classes", "attention", "norms of each example", "pixels moved", "pix2pix", "inpaint"):
        subject, model = written(CASES[name], tmp_path / "g.onnx", opset=opset, fold=False)
        x, c = inputs(subject)
        expected = CASES[name].expected(subject, x, c)
        np.testing.assert_allclose(run(model, x, c, layout="nchw"), expected, rtol=1e-5, atol=1e-5)


def test_folding_leaves_no_batch_norm_and_fewer_operations():
    graph = CASES["dcgan"].subject().graph(to="onnx")
    folded = fold_batch_norms(graph)
    assert sum(isinstance(op, BatchNorm) for op in graph.ops) == 2
    assert len(folded.ops) == len(graph.ops) - 2
    assert folded.output == graph.output
    assert fold_batch_norms(folded) == folded


def test_the_file_says_what_it_is(tmp_path: Path):
    _, model = written(CASES["dcgan with classes"], tmp_path / "g.onnx")
    assert [i.name for i in model.graph.input] == ["z", "condition"]
    assert [o.name for o in model.graph.output] == ["images"]
    assert model.doc_string == "G of dcgan. Images are NCHW, in [-1, 1]."
    assert model.producer_name == "minigan"
    assert [d.dim_param or d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim] == ["N", 1, 28, 28]


def test_the_command(tmp_path: Path, monkeypatch, capsys):
    from minigan import runs

    monkeypatch.chdir(tmp_path)
    small = [
        "--steps",
        "2",
        "--backend",
        "reference",
        "--out",
        "run",
        "--set",
        "width=4",
        "batch_size=8",
        "condition=none",
        "ema=0.5",
    ]
    assert main(["train", *small]) == 0
    assert main(["export", "run", "--to", "onnx", "--out", "g.onnx", "--layout", "nhwc", "--no-fold"]) == 0
    out = capsys.readouterr().out
    assert "G of dcgan at step 2, moving average: g.onnx\nz (N, 100) -> images (N, 28, 28, 1); opset 17, " in out
    trained = runs.load_generator(Path("run"), backend="reference")
    z = np.random.default_rng(0).standard_normal((2, 100)).astype(np.float32)
    expected = trained.G.forward(z, train=False)[0]
    np.testing.assert_allclose(run(onnx.load("g.onnx"), z, None, layout="nhwc"), expected, rtol=1e-5, atol=1e-5)
    for wrong, message in (
        (["--opset", "16"], "expected opset from 17 to 21 and layout nchw or nhwc, got 16 and nchw."),
        (["--prefix", "main."], "--prefix can be used with --to torch, got --to onnx. Leave it out."),
    ):
        assert main(["export", "run", "--to", "onnx", "--out", "h.onnx", *wrong]) == 2
        assert message in capsys.readouterr().err
        assert not Path("h.onnx").exists()


def test_the_command_knows_the_formats(monkeypatch):
    """Also one that came after minigan: a line in the table is all it takes."""
    from minigan.cli import command_line as cli

    monkeypatch.setitem(FORMATS, "c", FORMATS["numpy"])
    for name in FORMATS:
        assert cli._parse(["export", "run", "--to", name, "--out", "out"]).to == name
    with pytest.raises(SystemExit):
        cli._parse(["export", "run", "--to", "tf", "--out", "out"])


def test_without_the_extra_one_is_told_what_to_install(tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'minigan\[onnx\]'"):
        written(CASES["mlp"], tmp_path / "g.onnx")


def test_a_layout_that_is_none_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="layout nchw or nhwc, got 17 and hwcn"):
        written(CASES["mlp"], tmp_path / "g.onnx", layout="hwcn")
