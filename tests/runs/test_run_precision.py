"""The precision of runs: noted in config.toml, kept by training, told of when it changes; and who else uses it."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
from engines import is_installed

import minigan
from minigan import runs
from minigan.backends.precision import VARIABLE
from minigan.errors import CheckpointError, ConfigError
from minigan.inspection import explain, ledger_document, report_run
from minigan.inspection.inspecting import inspect_run
from minigan.inspection.limits import Limits
from minigan.inspection.real_step import step_of_recipe, step_of_run
from minigan.inspection.replay import replayed
from minigan.recipes import MLP, get_recipe
from minigan.runs.config import is_same_engine, is_same_precision, new_config, read_config, with_engine, write_config
from minigan.runs.config_migrations import CONFIG_FORMAT, migrated
from minigan.runs.prepare import create_folder, prepare_run
from minigan.runs.session import resume_run, start_run, train_run
from minigan.support.output import Output

pytestmark = pytest.mark.skipif(not is_installed("cpu"), reason="numba is not installed")
RING = MLP(hidden=4, latent=2, batch_size=8, steps=4)


@pytest.fixture(autouse=True)
def no_word_in_the_environment(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


def made(folder, *, backend="cpu", precision="bf16"):
    """A run with a checkpoint of step 0, for which no kernel is compiled."""
    run = prepare_run(new_config(RING, data="ring", backend=backend, precision=precision), folder)
    run.dataset.close()
    with create_folder(run):
        run.trainer.checkpoints.save()
    return folder


def resumed(folder, **arguments):
    """The precision with which a run goes on, and what is said."""
    run, lines = resume_run(folder, **arguments)
    run.dataset.close()
    run.trainer.state.owner.release()
    networks = run.trainer.state.learner.networks.values()
    assert {net.kernels.precision for net in networks} == {run.config.precision} == {run.backend.precision}
    assert read_config(folder) == run.config
    return run.config.precision, lines


# ------------------------------------------------------------------------------------------ config.toml


def test_a_new_run_notes_what_it_computes_in(tmp_path, monkeypatch):
    for n, (backend, word, variable, expected) in enumerate(
        [
            ("cpu", None, None, "fp32"),
            ("cpu", "auto", None, "fp32"),
            ("cpu", "bf16", None, "bf16"),
            ("cpu", None, "bf16", "bf16"),
            ("cpu", "fp32", "bf16", "fp32"),
            ("reference", None, "bf16", "fp32"),
        ]
    ):
        monkeypatch.setenv(VARIABLE, variable or "")
        folder = made(tmp_path / str(n), backend=backend, precision=word)
        assert f'\nprecision = "{expected}"\n' in (folder / "config.toml").read_text()
        assert read_config(folder).precision == expected
        assert repr(read_config(folder)).endswith(f"{backend}, float32, {expected}>")


@pytest.mark.parametrize("word", ["fp8", "", 16])
def test_a_configuration_has_a_word_that_there_is(tmp_path, word):
    with pytest.raises(ConfigError, match="precision must be one of auto, fp32, tf32, bf16, got "):
        new_config(RING, precision=word)
    write_config(replace(new_config(RING, data="ring"), precision=word), tmp_path)
    with pytest.raises(CheckpointError, match="'precision' must be one of auto, fp32, tf32, bf16, got"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("backend", "engine", "expected"),
    [
        ("cpu", "cpu backend, Numba 0.61.0, AVX-512 (64-byte vectors), 2 threads", "fp32"),
        ("cpu", "cpu backend, Numba 0.61.0, AVX-512 (64-byte vectors), 2 threads, exact", "fp32"),
        ("reference", "reference backend, NumPy 2.4.6", "fp32"),
        ("gpu", "gpu backend, CuPy 14.2 on NVIDIA H200, tf32", "tf32"),
        ("gpu", "gpu backend, CuPy 14.2 on NVIDIA H200, bf16", "bf16"),
        ("gpu", "gpu backend, CuPy 14.2 on NVIDIA H200, fp32", "fp32"),
        ("gpu", "", "auto"),
        ("auto", "", "auto"),
    ],
)
def test_a_run_of_format_3_computed_in_what_its_engine_says(backend, engine, expected):
    table = {"format": 3, "backend": backend, "engine": engine}
    assert migrated(table, source="it") == {"backend": backend, "engine": engine, "precision": expected}


def test_a_damaged_engine_is_refused_by_its_own_rule(tmp_path):
    folder = made(tmp_path / "run")
    text = (
        (folder / "config.toml")
        .read_text()
        .replace(f"format = {CONFIG_FORMAT}", "format = 3")
        .replace('precision = "bf16"\n', "")
    )
    lines = [line if not line.startswith("engine") else "engine = 3" for line in text.splitlines()]
    (folder / "config.toml").write_text("\n".join(lines))
    with pytest.raises(CheckpointError, match="'engine' must be"):
        read_config(folder)


# ------------------------------------------------------------------------------------------ training and resuming


@pytest.mark.parametrize("own", ["fp32", "bf16"])
def test_a_resumed_run_keeps_its_precision(tmp_path, monkeypatch, own):
    folder, other = made(tmp_path / "run", precision=own), {"fp32": "bf16", "bf16": "fp32"}[own]
    assert resumed(folder) == (own, ())
    monkeypatch.setenv(VARIABLE, own)
    assert resumed(folder) == (own, ())
    monkeypatch.setenv(VARIABLE, other)
    line = f"MINIGAN_PRECISION={other} is for new runs: this one goes on in {own}. `precision='{other}'` changes it."
    assert resumed(folder) == (own, (line,))
    assert resumed(folder, precision=own) == (own, ())


def test_a_change_is_said_in_one_line_and_noted(tmp_path, monkeypatch):
    folder = made(tmp_path / "run", precision="fp32")
    line = "this run was trained in fp32 to step 0; from here on in bf16."
    assert resumed(folder, precision="bf16") == ("bf16", (line,))
    assert resumed(folder) == ("bf16", ())
    line = "this run was trained in bf16 to step 0; from here on in fp32."
    assert resumed(folder, precision="auto") == ("fp32", (line,))
    monkeypatch.setenv(VARIABLE, "bf16")
    line = "this run was trained in fp32 to step 0; from here on in bf16."
    assert resumed(folder, precision="auto") == ("bf16", (line,))


def test_a_refused_change_changes_nothing(tmp_path, monkeypatch):
    folder = made(tmp_path / "run", precision="fp32")
    before = (folder / "config.toml").read_bytes()
    for word, message in (("tf32", "the cpu backend has no tf32"), ("half", "precision must be one of")):
        with pytest.raises(ConfigError, match=message):
            resume_run(folder, precision=word)
        with pytest.raises(ConfigError, match=message):
            runs.open_run(folder).resume(precision=word, quiet=True)
    monkeypatch.setenv(VARIABLE, "half")
    with pytest.raises(ConfigError, match="MINIGAN_PRECISION must be one of"):
        resume_run(folder)
    assert (folder / "config.toml").read_bytes() == before


def test_the_reference_goes_on_whatever_the_environment_says(tmp_path, monkeypatch):
    folder = made(tmp_path / "run", backend="reference", precision=None)
    monkeypatch.setenv(VARIABLE, "bf16")
    assert resumed(folder) == ("fp32", ())


def test_an_old_run_goes_on_without_a_word(tmp_path):
    folder = made(tmp_path / "run", precision="fp32")
    text = (folder / "config.toml").read_text()
    old = (
        text.replace(f"format = {CONFIG_FORMAT}", "format = 3")
        .replace('precision = "fp32"\n', "")
        .replace(", fp32", "")
    )
    assert old.count("fp32") == 0
    (folder / "config.toml").write_text(old)
    assert resumed(folder) == ("fp32", ())
    (folder / "config.toml").write_text(old)
    line = "this run was trained in fp32 to step 0; from here on in bf16."
    assert resumed(folder, precision="bf16") == ("bf16", (line,))


def test_another_engine_has_a_line_of_its_own(tmp_path):
    folder = made(tmp_path / "run", precision="fp32")
    config = read_config(folder)
    other = replace(config, engine=config.engine.replace("Numba ", "Numba 1."))
    assert not is_same_engine(config, other)
    assert is_same_engine(config, replace(config, engine=config.engine.replace("fp32", "bf16"), precision="bf16"))
    write_config(other, folder)
    precision, lines = resumed(folder, precision="bf16")
    assert precision == "bf16"
    assert [line.partition(" cpu ")[0].partition(" to step")[0] for line in lines] == [
        "this run was made with",
        "this run was trained in fp32",
    ]


def test_an_unknown_precision_of_an_old_run_is_no_difference():
    config = new_config(RING)
    assert is_same_precision(config, replace(config, precision="bf16"))
    assert not is_same_precision(replace(config, precision="fp32"), replace(config, precision="bf16"))


def test_at_a_prompt(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = {"data": "ring", "backend": "cpu", "quiet": True, "hidden": 4, "latent": 2, "batch_size": 8}
    for word in ("fp16", "", 16):
        with pytest.raises(ConfigError, match="precision must be one of auto, fp32, tf32, bf16, got "):
            minigan.train("mlp", steps=1, precision=word, **small)
    assert not (tmp_path / "runs").exists()
    run = minigan.train("mlp", steps=1, precision="bf16", **small)
    assert run.config.precision == "bf16"
    assert run.config.engine.endswith(", bf16")
    assert repr(run.generator).endswith(", cpu>")
    with pytest.warns(UserWarning, match=r"this run was trained in bf16 to step 1; from here on in fp32\."):
        run.resume(steps=2, precision="fp32")
    assert (run.step, run.config.precision) == (2, "fp32")
    assert repr(minigan.load_generator(run.folder, backend="cpu", precision="bf16")).endswith(", cpu in bf16>")


def test_double_precision_is_said_not_to_be_rounded(tmp_path, capsys):
    for precision, expected in (("bf16", 1), ("fp32", 0)):
        config = new_config(RING, data="ring", backend="cpu", precision=precision)
        config = replace(config, dtype="float64", settings={**config.settings, "steps": 1})
        train_run(start_run(config, tmp_path / precision), output=Output())
        said = capsys.readouterr()
        line = "these networks are float64: bf16 rounds products of float32 only."
        assert (said.out + said.err).count(line) == expected
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("bf16", "fp32")]
    assert weights[0] == weights[1]


# ------------------------------------------------------------------------------------------ what uses a run


def test_another_backend_brings_its_own_default():
    config = replace(new_config(RING), backend="cpu", precision="bf16")

    def chosen(backend, precision):
        found = with_engine(config, backend=backend, precision=precision)
        return found.backend, found.precision

    assert chosen(None, None) == chosen("cpu", None) == ("cpu", "bf16")
    assert chosen("reference", None) == ("reference", "auto")
    assert chosen("cpu", "auto") == ("cpu", "auto")
    assert chosen(None, "fp32") == ("cpu", "fp32")
    assert chosen("gpu", "tf32") == ("gpu", "tf32")
    with pytest.raises(ConfigError, match="precision must be one of"):
        chosen(None, "float16")


def test_samples_have_a_precision_of_their_own(tmp_path, monkeypatch):
    folder = made(tmp_path / "run", precision="bf16")
    assert runs.load_generator(folder, backend="cpu").describe()["precision"] == "fp32"
    assert runs.load_generator(folder, backend="cpu", precision="bf16").describe()["precision"] == "bf16"
    assert runs.open_run(folder).generator.G.kernels.precision == "fp32"
    monkeypatch.setenv(VARIABLE, "bf16")
    assert runs.load_generator(folder, backend="cpu").G.kernels.precision == "bf16"
    assert runs.load_generator(folder, backend="reference").G.kernels.precision == "fp32"
    with pytest.raises(ConfigError, match=r"^the cpu backend has no tf32"):
        runs.load_generator(folder, backend="cpu", precision="tf32")


@pytest.mark.parametrize("variable", ["", "fp32"])
def test_steps_that_are_done_again_have_the_run_s(tmp_path, monkeypatch, variable):
    folder = made(tmp_path / "run", precision="bf16")
    monkeypatch.setenv(VARIABLE, variable)
    with replayed(folder) as replay:
        assert (replay.prepared.backend.precision, replay.notes) == ("bf16", ())
    with replayed(folder, precision="fp32") as replay:
        assert replay.prepared.backend.precision == "fp32"
        assert [note.count("bf16") for note in replay.notes] == [1]
    with replayed(folder, backend="reference") as replay:
        assert replay.prepared.backend.precision == "fp32"
    for backend, precision, expected in (
        (None, None, "bf16"),
        ("cpu", None, "bf16"),
        (None, "fp32", "fp32"),
        ("reference", None, "fp32"),
    ):
        with step_of_run(folder, backend=backend, precision=precision, data=None) as step:
            assert step.backend.precision == expected
    with step_of_recipe(RING, backend="cpu", precision="bf16", data="ring") as step:
        assert step.backend.precision == "bf16"


def test_a_step_before_the_change_is_said_to_be_one(tmp_path):
    folder = made(tmp_path / "run", precision="fp32")
    resumed(folder, precision="bf16")
    with replayed(folder) as replay:
        assert replay.prepared.backend.precision == "bf16"
        assert replay.notes == ("this checkpoint was made in fp32; the run has gone on in bf16.",)
    with replayed(folder, precision="fp32") as replay:
        assert replay.notes[0] == "this checkpoint was made in fp32; the run has gone on in bf16."


@pytest.mark.parametrize(
    ("precision", "dtype", "end"),
    [
        ("fp32", "float32", ", measured just now"),
        ("bf16", "float32", ", measured just now in fp32, which products in bf16 may pass"),
        ("bf16", "float64", ", measured just now"),
    ],
)
def test_the_roof_of_a_step_says_whose_it_is(tmp_path, precision, dtype, end):
    config = replace(new_config(RING, data="ring", backend="cpu", precision=precision), dtype=dtype)
    run = prepare_run(config, tmp_path)
    run.dataset.close()
    step = SimpleNamespace(state=run.trainer.state)
    assert ledger_document._limits(step, SimpleNamespace(limits=Limits(100.0, 10.0))).endswith(end)
    assert ledger_document._limits(step, SimpleNamespace(limits=None)) == "not measured"


def test_an_inspection_takes_a_backend_s_own(tmp_path, monkeypatch):
    folder, asked = made(tmp_path / "run", precision="fp32"), {}

    def replay_of(_, **arguments):
        asked.update(arguments)
        raise ConfigError("enough")

    monkeypatch.setattr("minigan.inspection.inspecting.replayed", replay_of)
    from minigan.backends.cpu import CpuBackend

    backend = CpuBackend(threads=1, precision="bf16")
    with pytest.raises(ConfigError, match="enough"):
        inspect_run(folder, backend=backend)
    assert (asked["backend"], asked["precision"]) == ("cpu", "bf16")
    with pytest.raises(ConfigError, match=r"computes in bf16, got `precision='fp32'` in addition"):
        inspect_run(folder, backend=backend, precision="fp32")


def test_an_explanation_names_the_engine_of_the_run(tmp_path):
    folder = made(tmp_path / "run", precision="bf16")

    def engine(what, **arguments):
        return dict(explain(what, **arguments).blocks[1].rows)["batch"]

    assert engine(folder).endswith(", bf16")
    assert engine(folder, precision="fp32").endswith(", fp32")
    assert "reference backend" in engine(folder, backend="reference")
    alone = tmp_path / "model.safetensors"
    shutil.copy(folder / "model.safetensors", alone)
    assert engine(alone, backend="cpu").endswith(", fp32")
    assert engine(alone, backend="cpu", precision="bf16").endswith(", bf16")
    assert engine(get_recipe("mlp")(hidden=4, latent=2), backend="cpu", precision="bf16").endswith(", bf16")
    with pytest.raises(ConfigError, match=r"explained on the reference backend\. Leave `precision` out"):
        explain("hinge", precision="fp32")


def test_a_report_shows_it_and_takes_it(tmp_path):
    one, two = (made(tmp_path / name, precision=name) for name in ("bf16", "fp32"))
    for folder, step in ((one, 1), (two, 1)):
        (folder / "log.jsonl").write_text(f'{{"step": {step}, "d_loss": 1.0, "g_loss": 1.0, "seconds": 1.0}}\n')
    page = report_run(one, two, quick=True).page
    assert ", bf16</dd>" in page and ", fp32</dd>" in page  # at the end of the engine's line
    assert '<td class="w">precision</td><td>bf16</td><td>fp32</td>' in page
    with pytest.raises(ConfigError, match=r"a quick report computes nothing\. Leave `precision` or `quick` out"):
        report_run(one, quick=True, precision="fp32")
    with pytest.raises(ConfigError, match="precision must be one of"):
        report_run(one, precision="float16")
