"""Model cards: what they say of a run, what they say is missing, and that a stranger's text stays text."""

import json
import re

import numpy as np
import pytest

import minigan
from minigan.cli.command_line import main
from minigan.data.headers import PNG_SIGNATURE
from minigan.errors import CheckpointError
from minigan.inspection import card_of_run
from minigan.inspection.card import safe, sittings

SMALL = {"hidden": 4, "latent": 2, "batch_size": 8, "backend": "reference", "quiet": True}
SECTIONS = [
    *("Model details", "Intended use", "Training data", "Training", "Settings", "Evaluation", "Limits"),
    "How to use it",
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "one"
    return minigan.train("mlp", data="ring", steps=4, seed=7, lr=1e-3, out=folder, **SMALL)


@pytest.fixture
def copied(trained, tmp_path):
    """A run that a test may change."""
    import shutil

    return shutil.copytree(trained.folder, tmp_path / "run")


def section(text: str, title: str) -> str:
    return text.split(f"## {title}\n\n")[1].partition("\n\n## ")[0]


def test_the_sections_say_what_the_run_holds(trained):
    card = card_of_run(trained.folder)
    assert card.text.startswith("# Model card: mlp on ring\n\n![Samples](samples/step-000004.png)\n")
    assert re.findall(r"^## (.+)$", card.text, re.MULTILINE) == SECTIONS
    assert "- Steps: 4." in section(card.text, "Training")
    assert "A batch of 8 for each update; adam, seed 7." in section(card.text, "Training")
    assert trained.config.engine in card.text
    assert "100,000 2-D points, 8 classes" in section(card.text, "Training data")
    rows = section(card.text, "Settings").splitlines()[4:]
    assert "| lr | 0.001 | 0.0002 |" in rows
    assert [row.split("|")[1].strip() for row in rows] == ["steps", "lr", "batch\\_size", "latent", "hidden"]
    assert card.missing == ("an evaluation",)
    assert "None was made" in section(card.text, "Evaluation")
    assert "minigan sample RUN" in section(card.text, "How to use it")
    assert repr(card).startswith("<Card: ")


def test_the_data_s_notes_are_those_of_the_training(tmp_path):
    settings = {"size": 16, "width": 2, "d_width": 2, "batch_size": 2, "mirror": True, "backend": "reference"}
    run = minigan.train("superres", data="shapes", steps=1, out=tmp_path / "run", quiet=True, **settings)
    text = section(card_of_run(run.folder).text, "Training data")
    assert "- each image is flipped left to right with probability 1/2, the pictures of a pair together" in text
    assert "translate RUN FOLDER" in card_of_run(run.folder).text


def test_a_card_of_unpaired_data_names_both_sources_without_their_folders_and_both_directions(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    for name in ("photos.npy", "paintings.npy"):
        np.save(tmp_path / name, images)
    settings = {"size": 8, "width": 2, "d_width": 2, "blocks": 1, "mirror": True, "backend": "reference"}
    sources = {"data": tmp_path / "photos.npy", "data_b": tmp_path / "paintings.npy"}
    run = minigan.train("cyclegan", **sources, steps=1, out=tmp_path / "run", quiet=True, **settings)
    text = card_of_run(run.folder).text
    assert "- Source: photos.npy\n- Source of B: paintings.npy" in text
    assert "probability 1/2\n" in text and "of a pair" not in text  # A and B are flipped apart
    assert str(tmp_path) not in text
    assert "Turns pictures like those of A into pictures like those of B, and back" in text
    assert "translate RUN FOLDER_OF_B --direction BtoA" in text and "minigan sample RUN" not in text


def test_no_card_says_to_translate_what_has_a_hole(tmp_path):
    settings = {"size": 16, "width": 2, "d_width": 2, "batch_size": 2, "backend": "reference"}
    run = minigan.train("inpaint", data="shapes", steps=1, out=tmp_path / "run", quiet=True, **settings)
    text = card_of_run(run.folder).text
    assert "translate" not in text and "minigan sample RUN --out samples.png" in text


def test_a_card_with_the_name_of_a_folder_leaves_no_picture(trained, tmp_path, capsys):
    (tmp_path / "cards").mkdir()
    assert main(["card", str(trained.folder), "--out", str(tmp_path / "cards")]) == 2
    assert "It is a folder: name a file in it." in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["cards"]


def test_figures_of_an_evaluation_and_of_the_log(copied):
    figures = {"modes": {"value": 7.0, "data": 8.0, "better": "8", "meaning": "modes found"}}
    content = {"step": 4, "seed": 0, "features": "", "baseline": "fresh data", "figures": figures, "remarks": ["few"]}
    (copied / "evaluation.json").write_text(json.dumps(content))
    with open(copied / "log.jsonl", "a", encoding="utf-8") as log:
        log.write(json.dumps({"step": 4, "fid": 1.25}) + "\n")
    text = section(card_of_run(copied).text, "Evaluation")
    assert "| figure | value | fresh data | better | |" in text
    assert "| modes | 7 | 8 | 8 | modes found |" in text
    assert "Note: few" in text
    assert "During training, at step 4: fid 1.25." in text
    assert card_of_run(copied).missing == ()


def test_what_is_missing_is_said(copied):
    for path in [*(copied / "samples").iterdir(), *(copied / "checkpoints").iterdir()]:
        path.unlink()
    (copied / "log.jsonl").write_text("")
    (copied / "model.safetensors").unlink()
    card = card_of_run(copied)
    for lacking in ("a checkpoint", "a log", "a trained generator (model.safetensors)", "a sample picture"):
        assert lacking in card.missing
    assert "No picture was drawn." in card.text
    assert "- Steps: none saved yet of 4." in card.text
    assert "- Time: the log does not tell." in card.text
    assert "is not kept in this run" in section(card.text, "Training data")
    assert "There is no trained generator yet" in card.text


def test_times_of_all_sittings_are_added():
    assert list(sittings([{"seconds": 1.0}, {"fid": 3}, {"seconds": 5.0}, {"seconds": 2.0}, {"seconds": 3.5}])) == [
        5,
        3.5,
    ]
    assert list(sittings([{"seconds": "x"}, {"seconds": True}, {"seconds": float("nan")}])) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("![x](http://a.b/c)", r"!\[x\](http\://a.b/c)"),
        ("a|b `c` *d* _e_", r"a\|b \`c\` \*d\* \_e\_"),
        ("# one\n## two", r"\# one \#\# two"),
        ("- item", r"\- item"),
        ("1. item", r"1\. item"),
        ("{picture}", r"\{picture\}"),
        ("&lt; www.x.y \udce4", r"&amp;lt; www\.x.y  "),
        ("0.1.0 of 28x28", "0.1.0 of 28x28"),
        ("x" * 300, "x" * 200 + " ..."),
    ],
)
def test_a_strangers_text_stays_text(text, expected):
    assert safe(text) == expected


def test_a_hostile_run_writes_nothing_of_its_own(copied):
    """Names and remarks from elsewhere end no row, begin no heading, and make no link."""
    evil = "x |\n# y <img src=http://e> ![z](http://e){picture}"
    figures = {evil: {"value": evil, "data": None, "better": evil, "meaning": evil}, "odd": 3}
    content = {"step": evil, "seed": None, "features": evil, "baseline": evil, "figures": figures, "remarks": [evil, 3]}
    (copied / "evaluation.json").write_text(json.dumps(content))
    toml = (copied / "config.toml").read_text()
    changed = {"engine": evil, "data": f"/home/somebody/{evil.replace('/', '')}"}
    lines = [
        f"{key} = {json.dumps(changed[key])}" if (key := line.partition(" ")[0]) in changed else line
        for line in toml.splitlines()
    ]
    (copied / "config.toml").write_text("\n".join(lines))
    text = card_of_run(copied).text
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS
    assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1
    assert "<img" not in text
    assert text.count("![") == 1
    assert "somebody" not in text
    assert text.count("{picture}") == 0
    assert re.search(r"(?<!\\)://", text) is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"figures": 3}', "[" * 100_000, "\xff"])
def test_a_damaged_evaluation_is_one_line(copied, content):
    (copied / "evaluation.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"cannot read .*evaluation\.json: .* Evaluate the run again"):
        card_of_run(copied)


def test_no_run_is_one_line(tmp_path):
    with pytest.raises(CheckpointError, match=r"no run is there"):
        card_of_run(tmp_path / "none")
    with pytest.raises(CheckpointError, match="is not a run folder"):
        card_of_run(tmp_path)


# ---------------------------------------------------------------------------------------------- the command line


def test_the_command_writes_into_the_run(copied, capsys, monkeypatch):
    monkeypatch.chdir(copied.parent)
    assert main(["card", "run"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "run/card.md\n"
    assert shown.err == "minigan: the run does not hold an evaluation\n"
    assert (copied / "card.md").read_text(encoding="utf-8") == card_of_run(copied).text
    assert main(["card", "run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"files": ["run/card.md"], "missing": ["an evaluation"]}


def test_elsewhere_the_picture_lies_beside_it(copied, tmp_path, capsys):
    out = tmp_path / "share" / "README.md"
    out.parent.mkdir()
    assert main(["card", str(copied), "--out", str(out), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert "![Samples](README-samples.png)" in out.read_text(encoding="utf-8")
    picture = (out.parent / "README-samples.png").read_bytes()
    assert picture.startswith(PNG_SIGNATURE)
    assert picture == (copied / "samples" / "step-000004.png").read_bytes()
    assert sorted(path.name for path in out.parent.iterdir()) == ["README-samples.png", "README.md"]


def test_a_folder_in_the_card_s_place_is_refused(copied, tmp_path, capsys):
    assert main(["card", str(copied), "--out", str(tmp_path)]) == 2
    assert main(["card", str(copied), "--out", str(tmp_path / "none" / "card.md")]) == 2
    assert capsys.readouterr().err.count("minigan: cannot write") == 2
