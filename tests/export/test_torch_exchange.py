"""Networks to PyTorch and back: the same tensors, the same outputs, and training that goes on on the other side."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from export_cases import stirred

from minigan import runs
from minigan.backends import get_backend
from minigan.cli.command_line import main
from minigan.data import Digits
from minigan.errors import CheckpointError, ConfigError
from minigan.export import FORMATS, ExportOptions, Subject, load_state_dict, read_state_dict
from minigan.nn.layers import (
    BatchNorm,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Flatten,
    GlobalSumPooling2D,
    Maxout,
    ReLU,
    Reshape,
)
from minigan.nn.network import Residual, Sequential
from minigan.recipes import get_recipe
from minigan.runs.prepare import load_checkpoint, prepare_from_folder

torch = pytest.importorskip("torch")

import safetensors.torch  # noqa: E402
from torch import nn  # noqa: E402

torch.set_num_threads(1)

# Recipe, settings, image, network; small, and of every kind of layer that a sequence may have.
CASES = {
    "dcgan G": ("dcgan", {"width": 4}, (28, 28, 1), "G"),
    "dcgan G 32x64 RGB": ("dcgan", {"width": 2}, (32, 64, 3), "G"),
    "dcgan G with classes": ("dcgan", {"width": 4, "condition": "concatenation"}, (28, 28, 1), "G"),
    "dcgan D": ("dcgan", {"width": 4}, (28, 28, 1), "D"),
    "dcgan D without norm": ("dcgan", {"width": 4, "d_norm": "none"}, (28, 28, 1), "D"),
    "dcgan D spectral": ("dcgan", {"width": 4, "d_norm": "spectral"}, (32, 32, 3), "D"),
    "dcgan D augmented": ("dcgan", {"width": 4, "augment": "color,cutout"}, (32, 32, 3), "D"),
    "dcgan-cifar G": ("dcgan-cifar", {"width": 2, "dense": 8}, (32, 48, 3), "G"),
    "dcgan-cifar D": ("dcgan-cifar", {"width": 2, "dense": 8, "d_norm": "all"}, (32, 48, 3), "D"),
    "dcgan-keras G": ("dcgan-keras", {"width": 2}, (28, 60, 3), "G"),
    "dcgan-keras D": ("dcgan-keras", {"width": 2}, (28, 60, 3), "D"),
    "mlp G": ("mlp", {"hidden": 8}, (6, 5, 3), "G"),
    "mlp D of points": ("mlp", {"hidden": 8}, (2,), "D"),
    "minimax G": ("minimax", {"hidden": 8}, (6, 5, 3), "G"),
    "pacgan G of points": ("pacgan", {"g_hidden": 8}, (2,), "G"),
    "vae G": ("vae", {"width": 2}, (28, 28, 1), "G"),
    "vae encoder": ("vae", {"width": 2}, (28, 28, 1), "encoder"),
    "segment G": ("segment", {"width": 3}, (9, 8, 3), "G"),
    "cyclegan G": ("cyclegan", {"width": 2, "blocks": 2, "a_channels": 1, "identity": 0}, (12, 16, 3), "G_AB"),
    "cyclegan D": ("cyclegan", {"d_width": 2, "width": 2, "blocks": 1}, (24, 28, 3), "D_A"),
    "segment D": ("segment", {"d_width": 2, "conditional": False}, (16, 17, 3), "D"),
}


def network_of(name: str, settings: dict, shape: tuple[int, ...], network: str, *, seed: int = 0) -> Sequential:
    """One of a recipe's networks, its parameters and statistics as if it had been trained."""
    learner = get_recipe(name).from_settings(settings)
    learner = learner.assemble(shape, backend=get_backend("reference"), rng=np.random.default_rng(seed))
    return stirred(learner.networks[network], seed)


def exported(network: Sequential, path: Path, *, prefix: str = "") -> nn.Module:
    """PyTorch's module, made by the source that the file holds, with the file's tensors."""
    FORMATS["torch"].write(Subject(network, "a network"), path, ExportOptions(prefix=prefix))
    with safetensors.safe_open(path, framework="numpy") as file:
        definitions, source = file.metadata()["module"].rsplit("\n\n", 1)
    names = {}
    exec(definitions, names)
    module = eval(source, names)
    tensors = safetensors.torch.load_file(path)
    module.load_state_dict({name.removeprefix(prefix): t for name, t in tensors.items()}, strict=True)
    return module.eval()


def to_torch(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1)))


def torch_output(module: nn.Module, x: np.ndarray) -> np.ndarray:
    """Output for x in minigan's layout. A vector enters a convolution as one pixel, as in PyTorch's DCGAN."""
    z = to_torch(x)
    if z.ndim == 2 and any(isinstance(m, nn.ConvTranspose2d) for m in [module[0]]):
        z = z[:, :, None, None]
    with torch.no_grad():
        return np.moveaxis(module(z).numpy(), 1, -1)


def inputs(network: Sequential, n: int = 3) -> tuple[np.ndarray, np.ndarray | None]:
    """An input, and a condition for a G that takes classes."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((n, *network.input_shape), dtype=np.float32)
    first = network.layers[0]
    return x, np.eye(10, dtype=np.float32)[[3, 0, 9]] if type(first).__name__ == "ConcatCondition" else None


@pytest.mark.parametrize("case", CASES)
def test_the_same_outputs_there_and_the_same_numbers_back(case: str, tmp_path: Path):
    network = network_of(*CASES[case])
    module = exported(network, tmp_path / "n.safetensors")
    x, condition = inputs(network)
    y, _ = network.given(condition).forward(x, train=False)
    assert np.abs(y).max() > 1e-3
    given = x if condition is None else np.concatenate([x, condition], axis=1)
    np.testing.assert_allclose(torch_output(module, given), y, rtol=1e-5, atol=1e-5)

    back = network_of(*CASES[case], seed=7)
    safetensors.torch.save_file({f"module.{n}": t for n, t in module.state_dict().items()}, tmp_path / "b.safetensors")
    (tensors,) = read_state_dict(tmp_path / "b.safetensors").values()
    load_state_dict(back, tensors, source="b")
    for arena, other in ((network.arena, back.arena), (network.state, back.state)):
        np.testing.assert_array_equal(arena.flat, other.flat)
    np.testing.assert_array_equal(back.given(condition).forward(x, train=False)[0], y)


def test_gaps_and_groups(tmp_path: Path):
    layers = [
        Conv2D(6, (3, 2), padding=(2, 1), dilation=(2, 3), groups=2),
        ConvTranspose2D(4, 3, stride=2, padding=1, output_padding=1, dilation=2, groups=2),
        ConvTranspose2D(2, 3, stride=2, dilation=2, groups=2, bias=False),
    ]
    network = Sequential(layers, name="N").build((5, 6, 4), backend="reference", rng=np.random.default_rng(0))
    module = exported(stirred(network), tmp_path / "n.safetensors")
    x, _ = inputs(network)
    np.testing.assert_allclose(torch_output(module, x), network.forward(x, train=False)[0], rtol=1e-5, atol=1e-5)
    (tensors,) = read_state_dict(tmp_path / "n.safetensors").values()
    before = network.arena.flat.copy()
    load_state_dict(network, tensors, source="n")
    np.testing.assert_array_equal(network.arena.flat, before)


def test_the_prefix_stands_before_every_name(tmp_path: Path):
    settings = {"preset": "paper", "width": 4}
    exported(network_of("dcgan", settings, (28, 28, 1), "G"), tmp_path / "g.safetensors", prefix="main.")
    names = set(safetensors.numpy.load_file(tmp_path / "g.safetensors"))
    kept = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    expected = {f"main.{i}.weight" for i in (0, 3, 6)} | {f"main.{i}.{name}" for i in (1, 4) for name in kept}
    assert names == expected


REFUSED = {
    "residual": ([Residual([Dense(4)])], (4,), "N.0.Residual .*has no counterpart"),
    "maxout": ([Dense(4), Maxout(2)], (4,), "N.1.Maxout .*has no counterpart"),
    "sums": ([Conv2D(2, 3), GlobalSumPooling2D()], (4, 4, 1), "N.1.GlobalSumPooling2D .*has no counterpart"),
    "an image from an image's vector": (
        [Conv2D(2, 3), Flatten(), Reshape((4, 2, 4))],
        (4, 4, 1),
        "N.2.Reshape .*has no counterpart",
    ),
    "an image that no layer draws": ([ReLU(), Reshape((2, 2, 3)), Conv2D(1, 1)], (12,), "N.1.Reshape .*has no"),
    "a vector at the end": ([Conv2D(2, 3), Flatten()], (4, 4, 1), "N: ends with an image as a vector"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_sequence_is_refused(case: str, tmp_path: Path):
    layers, shape, message = REFUSED[case]
    network = Sequential(layers, name="N").build(shape, backend="reference", rng=np.random.default_rng(0))
    with pytest.raises(ConfigError, match=f"^{message}.*Export|^{message}.*export"):
        FORMATS["torch"].write(Subject(network, "N"), tmp_path / "n", ExportOptions())
    assert not (tmp_path / "n").exists()


# ---------------------------------------------------------------------------------------------- PyTorch's example


class Generator(nn.Module):
    """PyTorch's DCGAN example, for 28x28."""

    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(16, 16, 7, 1, 0, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(True),
            nn.ConvTranspose2d(16, 8, 4, 2, 1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(True),
            nn.ConvTranspose2d(8, 1, 4, 2, 1, bias=False),
            nn.Tanh(),
        )

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.main(z)


class Discriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(1, 8, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(8, 16, 4, 2, 1, bias=False),
            nn.BatchNorm2d(16),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(16, 1, 7, 1, 0, bias=False),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.main(x).flatten(1)


def batches() -> Iterator[np.ndarray]:
    images, rng = Digits(count=64, seed=1).read(np.arange(64)), np.random.default_rng(5)
    while True:
        yield images[rng.integers(64, size=8)]


def torch_losses(G: nn.Module, D: nn.Module, *, steps: int) -> np.ndarray:
    """PyTorch's example's training: the losses of D and of G, step by step."""
    bce, rng, reals = nn.BCEWithLogitsLoss(), np.random.default_rng(6), batches()
    optimizers = [torch.optim.Adam(m.train().parameters(), lr=2e-4, betas=(0.5, 0.999)) for m in (G, D)]
    losses = []
    for _ in range(steps):
        z = torch.from_numpy(rng.standard_normal((8, 16)).astype(np.float32))[:, :, None, None]
        fake, ones = G(z), torch.ones(8, 1)
        D.zero_grad()
        d_loss = bce(D(to_torch(next(reals))), ones) + bce(D(fake.detach()), 0 * ones)
        d_loss.backward()
        optimizers[1].step()
        G.zero_grad()
        g_loss = bce(D(fake), ones)
        g_loss.backward()
        optimizers[0].step()
        losses.append((d_loss.item(), g_loss.item()))
    return np.array(losses)


def minigan_losses(gan, *, steps: int) -> np.ndarray:
    reals, rng = batches(), np.random.default_rng(6)
    values = [gan.step(reals, rng) for _ in range(steps)]
    return np.array([(float(v.d_loss), float(v.g_loss)) for v in values])


def save(path: Path, module: nn.Module, *, prefix: str = "") -> None:
    safetensors.torch.save_file({f"{prefix}{name}": t for name, t in module.state_dict().items()}, path)


def test_from_pytorch_and_on(tmp_path: Path, monkeypatch, capsys):
    """Trained there, imported by the command, drawing the same, and trained on here as there."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    G, D = Generator(), Discriminator()
    torch_losses(G, D, steps=3)
    save(Path("netG.safetensors"), G, prefix="module.")
    save(Path("netD.safetensors"), D, prefix="module.")
    arguments = ["netG.safetensors", "--discriminator", "netD.safetensors", "--out", "run", "--backend", "reference"]
    assert main(["import", *arguments, "--recipe", "dcgan", "--set", "batch_size=8", "ema=0.9"]) == 0
    assert "dcgan 28x28x1, G from netG.safetensors and D from netD.safetensors: run" in capsys.readouterr().out

    trained = runs.load_generator(Path("run"), backend="reference")
    assert (trained.recipe.latent, trained.recipe.width, trained.averaged) == (16, 8, True)
    z, _ = inputs(trained.G)
    np.testing.assert_allclose(
        trained.G.forward(z, train=False)[0], torch_output(G.eval().main, z), rtol=1e-5, atol=1e-5
    )
    run = prepare_from_folder(Path("run"))
    load_checkpoint(run)
    ours = minigan_losses(run.trainer.state.learner, steps=4)
    theirs = torch_losses(G, D, steps=4)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    assert theirs[0, 0] != pytest.approx(theirs[-1, 0], rel=1e-2)  # something moved
    assert main(["train", "--resume", "run", "--steps", "2"]) == 0


def test_to_pytorch_and_on(tmp_path: Path, monkeypatch):
    """Trained here, exported by the command into PyTorch's example, and trained on there as here."""
    monkeypatch.chdir(tmp_path)
    small = ["--set", "preset=paper", "width=8", "latent=16", "batch_size=8", "ema=0.5"]
    assert main(["train", "--steps", "4", "--out", "run", "--backend", "reference", *small]) == 0
    export = ["export", "run", "--to", "torch", "--prefix", "main."]
    assert main([*export, "--out", "G.safetensors", "--last-weights"]) == 0
    assert main([*export, "--out", "D.safetensors", "--network", "D"]) == 0
    assert main([*export, "--out", "average.safetensors"]) == 0
    G, D, average = Generator(), Discriminator(), Generator()
    for name, module in (("G", G), ("D", D), ("average", average)):
        module.load_state_dict(safetensors.torch.load_file(f"{name}.safetensors"), strict=True)
    drawn = runs.load_generator(Path("run"), backend="reference")
    z, _ = inputs(drawn.G)
    np.testing.assert_allclose(drawn.G.forward(z, train=False)[0], torch_output(average.eval().main, z), atol=1e-5)
    assert not torch.equal(average.main[0].weight, G.main[0].weight)

    run = prepare_from_folder(Path("run"))
    load_checkpoint(run)
    for optimizer in run.trainer.state.learner.optimizers.values():  # new there, so new here
        optimizer.load_dict({name: np.zeros_like(array) for name, array in optimizer.to_dict().items()})
    np.testing.assert_allclose(
        torch_losses(G, D, steps=4), minigan_losses(run.trainer.state.learner, steps=4), rtol=1e-4
    )


# ---------------------------------------------------------------------------------------------- what goes wrong


def tensors_of(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: t.numpy() for name, t in module.state_dict().items()}


WRONG = {
    "a module too few": (lambda t: {n: a for n, a in t.items() if "main.6" not in n}, r"found 4: main.0, main.1, main"),
    "a strange name": (lambda t: {**t, "main.6.scale": np.ones(3)}, "expected names such as main.0.weight.*main.6.sc"),
    "a bias": (lambda t: {**t, "main.0.bias": np.ones(16, np.float32)}, r"main.0 to be the nn.ConvTranspose2d\(16, 16"),
    "no statistics": (
        lambda t: {n: a for n, a in t.items() if "running" not in n},
        "with bias, running_mean, running_var, weight; found bias, num_batches_tracked, weight",
    ),
    "another width": (
        lambda t: {**t, "main.3.weight": np.ones((16, 9, 4, 4), np.float32)},
        r"main.3.weight has shape \(16, 9, 4, 4\), G.4.ConvTranspose2D expects \(16, 8, 4, 4\)",
    ),
    "NaN": (lambda t: {**t, "main.6.weight": t["main.6.weight"] * np.nan}, "expected finite floats, found main.6.weig"),
    "integers": (lambda t: {**t, "main.1.bias": np.ones(16, np.int64)}, "main.1.bias of int64"),
}


@pytest.mark.parametrize("case", WRONG)
def test_other_names_and_shapes_are_told(case: str):
    change, message = WRONG[case]
    network = network_of("dcgan", {"preset": "paper", "width": 8, "latent": 16}, (28, 28, 1), "G")
    before = network.arena.flat.copy()
    with pytest.raises(CheckpointError, match=f"^it: .*{message}"):
        load_state_dict(network, change(tensors_of(Generator())), source="it")
    np.testing.assert_array_equal(network.arena.flat, before)


def test_half_precision_is_taken_and_double_too():
    network = network_of("dcgan", {"preset": "paper", "width": 8, "latent": 16}, (28, 28, 1), "G")
    for dtype in (np.float16, np.float64):
        tensors = {n: a.astype(dtype) if a.ndim else a for n, a in tensors_of(Generator()).items()}
        load_state_dict(network, tensors, source="it")
        expected = tensors["main.6.weight"].astype(np.float32).transpose(2, 3, 1, 0)
        np.testing.assert_array_equal(network.layers[7].w.value, expected)


def test_spectral_norm_by_its_older_names():
    """`torch.nn.utils.spectral_norm` calls its tensors otherwise than the parametrization does.

    It keeps u from half a step of the power iteration later, so the same sigma comes out where that has converged.
    """
    network = network_of("dcgan", {"preset": "paper", "width": 4, "d_norm": "spectral"}, (32, 32, 3), "D")
    older = partial(nn.utils.spectral_norm, n_power_iterations=500)
    module = nn.Sequential(
        *(
            inner
            for conv in (nn.Conv2d(3, 4, 4, 2, 1, bias=False), nn.Conv2d(4, 8, 4, 2, 1), nn.Conv2d(8, 16, 4, 2, 1))
            for inner in (older(conv), nn.LeakyReLU(0.2))
        ),
        older(nn.Conv2d(16, 1, 4, bias=False)),
        nn.Flatten(),
    )
    module(torch.randn(2, 3, 32, 32))  # the power iteration moves u
    x, _ = inputs(network)
    load_state_dict(network, tensors_of(module), source="it")
    expected = torch_output(module.eval(), x)
    np.testing.assert_allclose(network.forward(x, train=False)[0], expected, rtol=1e-4, atol=1e-5)


WEIGHT_NORMS = {"older": nn.utils.weight_norm, "parametrization": nn.utils.parametrizations.weight_norm}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("dim", [0, 1, None])
@pytest.mark.parametrize("spelling", WEIGHT_NORMS)
def test_weight_norm_in_both_spellings(spelling: str, dim: int | None):
    """Size and direction of a weight become the weight, whichever axis the sizes belong to."""
    normalized = partial(WEIGHT_NORMS[spelling], dim=dim)
    layers = [ConvTranspose2D(5, 4, padding=0), ReLU(), Conv2D(1, 3, padding=1), Reshape((16,)), Dense(2)]
    network = Sequential(layers, name="N").build((1, 1, 3), backend="reference", rng=np.random.default_rng(0))
    convolutions = (
        nn.ConvTranspose2d(3, 5, 4),
        nn.ReLU(),
        nn.Conv2d(5, 1, 3, padding=1),
        nn.Flatten(),
        nn.Linear(16, 2),
    )
    module = nn.Sequential(*(normalized(m) if hasattr(m, "weight") else m for m in convolutions)).eval()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith(("weight_g", "original0")):
                parameter.mul_(1 + torch.rand_like(parameter))  # so that it is no longer |v|
    x = np.random.default_rng(0).standard_normal((2, 1, 1, 3), dtype=np.float32)
    load_state_dict(network, tensors_of(module), source="it")
    np.testing.assert_allclose(network.forward(x, train=False)[0], torch_output(module, x), rtol=1e-5, atol=1e-6)


def test_half_of_a_weight_norm_is_told():
    network = Sequential([Dense(2)], name="N").build((3,), backend="reference", rng=np.random.default_rng(0))
    v, g, bias = np.ones((2, 3), np.float32), np.ones((2, 1), np.float32), np.zeros(2, np.float32)
    for tensors, says in (
        ({"0.weight_g": g, "0.bias": bias}, "with bias, weight; found bias, parametrizations.weight.original0"),
        ({"0.weight_g": g[:1, 0], "0.weight_v": v, "0.bias": bias}, "with bias, weight; found bias, parametrizations"),
        ({"0.weight_g": g, "0.weight_v": 0 * v, "0.bias": bias}, "expected finite floats, found 0.weight"),
    ):
        with pytest.raises(CheckpointError, match=says):
            load_state_dict(network, tensors, source="it")


def test_modules_are_taken_by_their_numbers():
    """Ten comes after nine, whatever the file's order; bn1 after conv1."""
    layers = [layer for _ in range(6) for layer in (Dense(3), BatchNorm())]
    network = Sequential(layers, name="N").build((3,), backend="reference", rng=np.random.default_rng(0))
    module = nn.Sequential(*(m for _ in range(6) for m in (nn.Linear(3, 3), nn.BatchNorm1d(3)))).eval()
    x = np.random.default_rng(0).standard_normal((2, 3), dtype=np.float32)
    sequence = tensors_of(module)
    by_kind = {}
    for name, array in sequence.items():
        index, tail = name.split(".")
        by_kind[f"{'fc' if int(index) % 2 == 0 else 'bn'}{int(index) // 2}.{tail}"] = array
    for tensors in (dict(sorted(sequence.items())), dict(sorted(by_kind.items()))):
        load_state_dict(network, tensors, source="it")
        np.testing.assert_allclose(network.forward(x, train=False)[0], torch_output(module, x), rtol=1e-5, atol=1e-6)


def test_both_networks_in_one_file(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    G, D = tensors_of(Generator()), tensors_of(Discriminator())
    both = {f"netG.module.{n}": a for n, a in G.items()} | {f"netD.{n}": a for n, a in D.items()}
    safetensors.numpy.save_file(both, "both.safetensors")
    assert main(["import", "both.safetensors", "--out", "run", "--backend", "reference"]) == 0
    assert "G from both.safetensors and D from both.safetensors: run" in capsys.readouterr().out
    assert json.loads(Path("run/config.toml").read_text().split("channels = ")[1].split("\n")[0]) == 1
    safetensors.numpy.save_file({f"D.{n}": a for n, a in D.items()}, "d.safetensors")
    for arguments, message in (
        (["d.safetensors"], "d.safetensors: expected the weights of G, found those of D only."),
        (["both.safetensors", "--discriminator", "d.safetensors"], "both hold D. Give each network once."),
    ):
        assert main(["import", *arguments, "--out", "other", "--backend", "reference"]) == 2
        assert message in capsys.readouterr().err
        assert not Path("other").exists()
    safetensors.numpy.save_file({**both, "odd.weight": np.ones(1)}, "odd.safetensors")
    with pytest.raises(CheckpointError, match=r"expected tensors of G or D only, found odd\.weight"):
        read_state_dict(Path("odd.safetensors"))


def test_a_new_discriminator_where_none_is_given(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save(Path("g.safetensors"), Generator())
    assert main(["import", "g.safetensors", "--backend", "reference"]) == 0
    out = capsys.readouterr().out
    assert "dcgan 28x28x1, G from g.safetensors: runs/dcgan-g-1" in out
    assert "D with new weights: give --discriminator FILE to import D." in out
    assert main(["export", "runs/dcgan-g-1", "--to", "torch", "--network", "E", "--out", "e"]) == 2
    assert "dcgan has no E: expected one of G, D." in capsys.readouterr().err
    Path("no.safetensors").write_bytes(b"PK\x03\x04")
    assert main(["import", "no.safetensors", "--out", "no"]) == 2
    assert "in PyTorch: safetensors.torch.save_file(" in capsys.readouterr().err
