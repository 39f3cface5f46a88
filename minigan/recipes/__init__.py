"""GANs that can be trained by name; each file is a starting point for a recipe of your own."""

from minigan.errors import ConfigError
from minigan.recipes.bases.adversarial import AdversarialRecipe
from minigan.recipes.bases.dense import DenseRecipe
from minigan.recipes.bases.noise import NoiseRecipe
from minigan.recipes.bases.recipe import Recipe
from minigan.recipes.bases.restoration import RestorationRecipe
from minigan.recipes.bases.translation import PairRecipe, TranslationRecipe
from minigan.recipes.bases.unpaired import UnpairedRecipe
from minigan.recipes.cyclegan import CycleGAN
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
from minigan.recipes.r3gan import R3GAN
from minigan.recipes.segment import Segment
from minigan.recipes.sngan import SNGAN
from minigan.recipes.stylegan2 import StyleGAN2
from minigan.recipes.superres import SuperResolution
from minigan.recipes.vae import VAE
from minigan.support.arguments import did_you_mean, kind_of

__all__ = [
    "DCGAN",
    "MLP",
    "R3GAN",
    "RECIPES",
    "SNGAN",
    "VAE",
    "AdversarialRecipe",
    "CycleGAN",
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
    "StyleGAN2",
    "SuperResolution",
    "TranslationRecipe",
    "UnpairedRecipe",
    "get_recipe",
]


def __dir__() -> list[str]:
    return sorted(__all__)


RECIPES: dict[str, type[Recipe]] = {
    recipe.name: recipe
    for recipe in (
        *(DCGAN, MLP, MinimaxGame, DCGANKeras, DCGANCifar, SNGAN, R3GAN, StyleGAN2, MultiD, PacGAN, VAE),
        *(Segment, Pix2Pix, CycleGAN, SuperResolution, Denoise, Inpaint),
    )
}


def get_recipe(name: str) -> type[Recipe]:
    """The recipe of that name, a class whose arguments are its settings.

    Args:
        name: a key of RECIPES, such as "dcgan".
    Returns:
        The class; `help` of it lists all settings, and `.assemble` of an object builds its networks.
    Raises:
        ConfigError: the name is unknown.
    """
    if not isinstance(name, str) or name not in RECIPES:
        hint = did_you_mean(name, RECIPES)
        shown = repr(name) if isinstance(name, str) else kind_of(name)
        raise ConfigError(f"unknown recipe {shown}: expected one of {', '.join(RECIPES)}.{hint}")
    return RECIPES[name]
