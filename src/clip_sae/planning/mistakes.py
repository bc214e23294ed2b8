"""The checked config of an analysis, and error sentences that several analyses share.

The schema's `refersTo` has checked the names of data sets and recipes before. No torch, since the
Snakefile imports this.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from clip_sae.planning.architecture import Architecture

NAMED_TEMPLATES = ("none", "openai80")


@dataclass(frozen=True)
class Checked:
    """A config whose types, ranges and names are right.

    Attributes:
        config: with its defaults.
        model: sizes of the tower; None if unknown, which is reported separately.
        variants: {recipe: names of its variants}; empty for a recipe that cannot be trained.
    """

    config: Mapping
    model: Architecture | None
    variants: Mapping[str, Sequence[str]]

    @property
    def analyses(self) -> Mapping:
        """{analysis: its section of the config}."""
        return self.config["analyses"]

    def recipe(self, name: str) -> Mapping:
        """Return the entry of an SAE recipe."""
        return self.config["saes"][name]


def template_mistakes(
    where: str, templates: str | Sequence[str], what: str = "class"
) -> Iterator[str]:
    """Yield a sentence for each prompt without exactly one `{}` for its `what`."""
    for text in [templates] if isinstance(templates, str) else templates:
        if text not in NAMED_TEMPLATES and text.count("{}") != 1:
            yield (
                f"{where}: {text!r} has no {{}} for the {what}, or several; write "
                f"{', '.join(NAMED_TEMPLATES)} or a text such as 'a photo of a {{}}.'."
            )


def layer_of(section: Mapping, model: Architecture | None) -> int | None:
    """Return the layer of a section; by default the last but one, as PatchSAE's.

    None if the model's sizes are unknown.
    """
    if section["layer"] is None and model is not None:
        return model.n_layers - 2
    return section["layer"]


def layer_mistakes(
    where: str, section: Mapping, recipe: Mapping, model: Architecture | None
) -> Iterator[str]:
    """Yield a sentence if the recipe of a section has no SAE at the section's layer."""
    layer = layer_of(section, model)
    if layer is not None and layer not in recipe["layers"]:
        yield (
            f"{where}.layer: layer {layer} is not among the layers of recipe "
            f"{section['recipe']!r}: {sorted(recipe['layers'])}. (Without a number it is the last "
            f"but one, as the paper's.)"
        )


def counted_mistakes(
    where: str, section: Mapping, recipe: Mapping, model: Architecture | None, use: str
) -> Iterator[str]:
    """Yield a sentence for each reason why a section's latents cannot be ranked by their counts.

    Args:
        use: a clause about the use of resid_post, for the sentence about another hook.
    """
    if recipe["hook"] != "resid_post":
        yield (
            f"{where}.recipe: {section['recipe']!r} reconstructs {recipe['hook']}, and {use}. "
            f"Name a recipe of that hook."
        )
    yield from layer_mistakes(where, section, recipe, model)
    if model is not None and layer_of(section, model) == model.n_layers - 1:
        yield (
            f"{where}.layer: after the last layer, {model.n_layers - 1}, the model reads CLS "
            f"alone, but latents are ranked by their counts over all tokens. Name an earlier layer."
        )
    if recipe.get("tokens") == "cls":
        yield (
            f"{where}.recipe: {section['recipe']!r} was trained on CLS alone, but latents are "
            f"ranked by their counts over all tokens. Name a recipe of all tokens."
        )


def cls_only_mistakes(where: str, name: str, recipe: Mapping) -> Iterator[str]:
    """Yield a sentence if a recipe, whose latents are averaged over tokens, reads CLS alone."""
    if recipe.get("tokens") == "cls":
        yield (
            f"{where}: {name!r} was trained on CLS alone, and a latent's value on an image is its "
            f"mean over all tokens. Name a recipe of all tokens."
        )
