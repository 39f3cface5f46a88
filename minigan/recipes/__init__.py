"""GANs that can be trained by name; each file is a starting point for a recipe of your own."""

from minigan.errors import ConfigError
from minigan.recipes.bases.adversarial import AdversarialRecipe
from minigan.recipes.bases.dense import DenseRecipe
from minigan.recipes.bases.noise import NoiseRecipe
from minigan.recipes.bases.recipe import Recipe
from minigan.recipes.bases.restoration import RestorationRecipe
from minigan.recipes.bases.translation import PairRecipe, TranslationRecipe
from minigan.recipes.dcgan import DCGAN
from minigan.recipes.dcgan_cifar import DCGANCifar
from minigan.recipes.dcgan_keras import DCGANKeras
from minigan.recipes.denoise import Denoise
from minigan.recipes.inpaint import Inpaint
from minigan.recipes.minimax import MinimaxGame
from minigan.recipes.mlp import MLP
from minigan.recipes.multi_d import MultiD
from minigan.recipes.pacgan import PacGAN
from minigan.recipes.pix2pix import Pix2Pix
from minigan.recipes.segment import Segment
from minigan.recipes.sngan import SNGAN
from minigan.recipes.superres import SuperResolution
from minigan.recipes.vae import VAE

__all__ = [
    "DCGAN",
    "MLP",
    "RECIPES",
    "SNGAN",
    "VAE",
    "AdversarialRecipe",
    "DCGANCifar",
    "DCGANKeras",
    "Denoise",
    "DenseRecipe",
    "Inpaint",
    "MinimaxGame",
    "MultiD",
    "NoiseRecipe",
    "PacGAN",
    "PairRecipe",
    "Pix2Pix",
    "Recipe",
    "RestorationRecipe",
    "Segment",
    "SuperResolution",
    "TranslationRecipe",
    "get_recipe",
]


def __dir__() -> list[str]:
    return sorted(__all__)


RECIPES: dict[str, type[Recipe]] = {
    recipe.name: recipe
    for recipe in (
        *(DCGAN, MLP, MinimaxGame, DCGANKeras, DCGANCifar, SNGAN, MultiD, PacGAN, VAE),
        *(Segment, Pix2Pix, SuperResolution, Denoise, Inpaint),
    )
}


def get_recipe(name: str) -> type[Recipe]:
    """The recipe of that name, a class whose arguments are its settings.

    Args:
        name: a key of RECIPES, such as "dcgan".
    Raises:
        ConfigError: the name is unknown.
    """
    if name not in RECIPES:
        raise ConfigError(f"unknown recipe {name!r}: expected one of {', '.join(RECIPES)}.")
    return RECIPES[name]
