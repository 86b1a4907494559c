"""Recipes for training each network."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe of Adam with a cosine.

    Fields:
        epochs: passes over the training rows.
        batch: rows of a step.
        rate: initial learning rate.
        decay: factor of the L2 penalty on all parameters (Adam, not AdamW).
        kl_weight: factor of the Kullback-Leibler term of Bayes by Backprop; 0 leaves it out.
        prior: standard deviation of the Gaussian prior, for that term.
    """

    epochs: int
    batch: int
    rate: float
    decay: float = 0.0
    kl_weight: float = 0.0
    prior: float = 1.0


@dataclass(frozen=True, slots=True)
class ChainRecipe:
    """SGHMC: a burn-in, then `members` members, `spacing` epochs apart."""

    burn_in: int
    spacing: int
    batch: int
    rate: float
    members: int = 20

    @property
    def epochs(self) -> int:
        return self.burn_in + self.members * self.spacing


AnyRecipe = Recipe | ChainRecipe

LENET: dict[str, AnyRecipe] = {
    "pointwise": Recipe(epochs=15, batch=256, rate=1e-3, decay=1e-4),
    "mcd": Recipe(epochs=30, batch=128, rate=1e-3, decay=1e-5),
    "bbb": Recipe(epochs=25, batch=128, rate=1e-3, kl_weight=1.0, prior=0.1),
    "sghmc": ChainRecipe(burn_in=20, spacing=2, batch=128, rate=1e-4),
}
MLP: dict[str, AnyRecipe] = {
    "pointwise": Recipe(epochs=100, batch=128, rate=1e-3, decay=1e-3),
    "mcd": Recipe(epochs=300, batch=128, rate=1e-3, decay=5e-5),
    "bbb": Recipe(epochs=300, batch=128, rate=3e-3, kl_weight=0.1, prior=1.0),
    "sghmc": ChainRecipe(burn_in=300, spacing=15, batch=128, rate=5e-5),
}
METHODS = tuple(LENET)


def scaled(recipe: AnyRecipe, factor: float) -> AnyRecipe:
    """The recipe with `factor` times its epochs, at least one of each kind."""

    def times(epochs: int) -> int:
        return max(1, round(factor * epochs))

    match recipe:
        case ChainRecipe():
            return replace(recipe, burn_in=times(recipe.burn_in), spacing=times(recipe.spacing))
        case Recipe():
            return replace(recipe, epochs=times(recipe.epochs))
