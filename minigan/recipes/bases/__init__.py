"""Bases of the recipes: their settings, their data, and how their networks are put together and trained."""

from minigan.recipes.bases.adversarial import AdversarialRecipe
from minigan.recipes.bases.dense import DenseRecipe
from minigan.recipes.bases.noise import NoiseRecipe
from minigan.recipes.bases.recipe import Recipe
from minigan.recipes.bases.restoration import RestorationRecipe
from minigan.recipes.bases.translation import PairRecipe, TranslationRecipe
from minigan.recipes.bases.unpaired import UnpairedRecipe

__all__ = [
    "AdversarialRecipe",
    "DenseRecipe",
    "NoiseRecipe",
    "PairRecipe",
    "Recipe",
    "RestorationRecipe",
    "TranslationRecipe",
    "UnpairedRecipe",
]
