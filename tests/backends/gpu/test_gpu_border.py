"""Arrays are moved at the border and nowhere else: whole runs on a stand-in for CuPy, see `fake_cupy`.

With the reference's kernels, so that both sides give the same bits; `tests/backends` looks at the GPU's own.
"""

import copy
import io
from functools import partial

import numpy as np
import pytest
from selection import few_quick

from minigan import runs
from minigan.backends import array_module, get_backend
from minigan.errors import DTypeError
from minigan.losses import LOSSES
from minigan.losses.gradient_penalties import PENALTIES
from minigan.nn.layers import (
    BatchNorm,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    MinibatchStdDev,
    PixelShuffle,
    SelfAttention,
    Sigmoid,
    SpectralNorm,
    Tanh,
    UpSampling2D,
)
from minigan.nn.network import Residual, Sequential, SkipConcat
from minigan.nn.network.residual_blocks import down_block, up_block
from minigan.recipes import get_recipe
from minigan.runs.prepare import create_folder, load_checkpoint, prepare_run
from minigan.support.interruption import Interruption
from minigan.support.progress import PlainProgress
from minigan.training.sampling import standing_statistics


def test_the_stand_in_minds_its_border(device):
    on_device = device.asarray(np.ones(3))
    with pytest.raises(TypeError):
        on_device + np.ones(3)
    with pytest.raises(TypeError):
        np.asarray(on_device)
    assert array_module(on_device) is device.xp
    assert isinstance(device.to_numpy(on_device + 1), np.ndarray)


SETTINGS = {
    "dcgan": {"width": 4},
    "mlp": {},
    "minimax": {"hidden": 8},
    "dcgan-keras": {"width": 2},
    "multi-d": {"width": 2, "weights": "softmax", "penalty": "r1", "discriminators": 2, "multi_scale": True},
    "sngan": {"width": 4, "n_critic": 2},
    "stylegan2": {
        "latent": 8, "w_dim": 8, "channel_base": 64, "channel_max": 8, "mixing": 0.9, "path_weight": 2.0,
        "path_interval": 2, "penalty_interval": 2,
    },
    "pacgan": {"g_hidden": 8, "d_hidden": 4, "pack": 2},
    "dcgan, all options": {
        "width": 4, "optimizer": "rmsprop", "schedule": "cosine", "clip_norm": 1, "clip_value": 0.1,
        "clip_weights": 0.1, "ema": 0.9, "ema_statistics": "standing",
        "augment": "color,translation,cutout", "init": "orthogonal", "pack": 2, "fake_pool": 6,
    },
}  # fmt: skip


# The steps of the others are compared in `test_gpu_graphs.py`.
@pytest.mark.parametrize("case", few_quick(SETTINGS, ("dcgan", "mlp", "minimax", "pacgan", "dcgan, all options")))
def test_a_run_gives_the_same_bits_on_both_sides(tmp_path, monkeypatch, device, case):
    few = partial(standing_statistics, batches=5)
    monkeypatch.setattr("minigan.training.moving_average.standing_statistics", few)
    weights, recipe = [], case.partition(",")[0]
    for name in ("reference", "gpu"):
        settings = {"batch_size": 4, "steps": 3, **SETTINGS[case]}
        full = get_recipe(recipe).from_settings(settings).settings()
        folder = tmp_path / name
        run = prepare_run(runs.RunConfig(recipe=recipe, settings=full, data="digits", backend=name), folder)
        assert run.backend.name == name
        create_folder(run)
        with run.trainer.state.loader:
            run.trainer.run(PlainProgress(start=0, total=3, stream=io.StringIO()), Interruption())
            load_checkpoint(run)
        weights.append(run.trainer.state.learner.to_dict())
        side = 32 if recipe == "stylegan2" else 28
        assert runs.load_generator(folder, backend=device).sample(3, seed=0).shape == (3, side, side, 1)
    for key, expected in weights[0].items():
        np.testing.assert_array_equal(weights[1][key], expected, err_msg=key)


@pytest.mark.parametrize(
    "settings",
    [
        *({"loss": loss} for loss in LOSSES),
        *({"penalty": penalty, "loss": "hinge", "d_norm": "none"} for penalty in PENALTIES),
        {"feature_matching": 0.1, "instance_noise": 0.1, "label_smoothing": 0.1},
    ],
    ids=lambda settings: " ".join(map(str, settings.values())),
)
def test_every_loss_and_penalty_gives_the_same_bits_on_both_sides(device, settings):
    weights = []
    for backend in (get_backend("reference"), device):
        recipe = get_recipe("dcgan").from_settings({"width": 2, **settings})
        gan = recipe.assemble((8, 8, 1), backend=backend, rng=np.random.default_rng(0))
        # Four, as the G of a pairing loss takes fresh ones.
        reals = (np.random.default_rng(n).uniform(-1, 1, (4, 8, 8, 1)) for n in range(4))
        rng = np.random.default_rng(1)
        values = [float(value) for _ in range(2) for value in gan.step(reals, rng)]
        weights.append(gan.to_dict() | {"values": np.array(values)})
    for key, expected in weights[0].items():
        np.testing.assert_array_equal(weights[1][key], expected, err_msg=key)


LAYERS = {
    "plain": [
        SkipConcat([Conv2D(3, 3), Tanh()]),
        Residual([Conv2D(5, 3), BatchNorm()]),
        UpSampling2D(2),
        Dropout(0.3),
        Flatten(),
        Dense(4),
        Sigmoid(),
    ],
    "normalized": [
        GroupNorm(1),
        up_block(4),
        InstanceNorm(),
        PixelShuffle(2),
        SpectralNorm(ConvTranspose2D(8, 3)),
        LayerNorm(),
        SelfAttention(wrap=SpectralNorm),
        down_block(4),
        MinibatchStdDev(),
        GlobalAveragePooling2D(),
        SpectralNorm(Dense(4)),
    ],
}


@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS.keys())
def test_double_backward_stays_on_the_device(device, layers):
    results = []
    for backend in (get_backend("reference"), device):
        network = Sequential(copy.deepcopy(layers))  # a layer is built once
        network.build((4, 4, 2), backend=backend, dtype="float64", rng=np.random.default_rng(0))
        rng = np.random.default_rng(1)
        x, dy, v = (backend.asarray(rng.normal(size=shape)) for shape in [(3, 4, 4, 2), (3, 4), (3, 4, 4, 2)])
        _, tape = network.forward(x, train=True, rng=np.random.default_rng(2))
        assert tape.nbytes > 0
        grads = network.gradients()
        _, record = network.backward_recorded(dy, tape)
        ddy, ddx = network.double_backward(v, record, tape, grads=grads)
        network.backward(dy, tape, grads=grads)
        network.commit_statistics(tape)
        results.append([backend.to_numpy(a) for a in (ddy, ddx, grads.flat, network.state.flat)])
    for expected, got in zip(*results, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_a_host_array_is_refused_with_a_remedy(device):
    network = Sequential([Dense(2)]).build((3,), backend=device, rng=np.random.default_rng(0))
    with pytest.raises(DTypeError, match=r"expected x as an array of cupy.*Write x = net\.kernels\.asarray\(x"):
        network.forward(np.zeros((1, 3), np.float32), train=False)
