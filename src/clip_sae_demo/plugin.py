"""The parts that the demo adds to clip_sae: drawn data sets, the word list `demo`, the demo CLIP.

clip_sae imports this file when it reads the workflow, so it imports no array library.
"""

from collections.abc import Callable, Mapping

from clip_sae.planning.artefacts import COMPLETE
from clip_sae.planning.kinds import ImageCount, Maker, register
from clip_sae.planning.plugins import STEPS, WORDS
from clip_sae.planning.steps import Rule
from clip_sae.planning.versions import DRAW_VERSION, PRETRAIN_VERSION

# Sets of the demo world: {name: "module:constant" of a `clip_sae_demo.sets.World`}.
WORLDS = {
    "general": "clip_sae_demo.sets:GENERAL",
    "negative": "clip_sae_demo.sets:NEGATIVE",
    "typographic": "clip_sae_demo.sets:TYPOGRAPHIC",
    "waterbirds": "clip_sae_demo.waterbirds:WATERBIRDS",
    "celeba": "clip_sae_demo.celeba:CELEBA",
}
DEMO_CLIP_FILES = (
    "open_clip_model.safetensors",
    "open_clip_config.json",
    "vocabulary.json",
    "CARD.md",
)
DEMO_CLIP = Rule(
    "demo_clip",
    f"demo_clip/{COMPLETE}",
    "clip_sae_demo.step:demo_clip",
    beside=tuple(f"demo_clip/{name}" for name in DEMO_CLIP_FILES),
)


@register
class DrawnWorld(Maker):
    """Sets of the demo world, in the layouts of the real sets that they stand for."""

    section = "draw"
    what = "a set of the demo world"
    rule = Rule(
        "draw_world",
        f"world/{{drawn}}-{{digest}}/{COMPLETE}",
        "clip_sae_demo.step:draw_world",
        stage="draw",
    )
    help = "Draw one set of the demo world in the layout of the real set that it stands for."
    version = DRAW_VERSION
    schema = f"""
    description: draw this set of the demo world instead of reading one
    required: [world, n_train, n_val, n_test]
    properties:
      world: {{enum: [{", ".join(WORLDS)}], description: the set}}
      seed: {{type: integer, minimum: 0, default: 0, description: of the scenes}}
      n_train: {{type: integer, minimum: 0, description: images}}
      n_val: {{type: integer, minimum: 0, description: images}}
      n_test: {{type: integer, minimum: 0, description: images}}
    """

    def folder(self, section: Mapping) -> str:
        """Return the set's name."""
        return section["world"]

    def count(self, section: Mapping, split: str, count: Callable) -> ImageCount:
        """Return the number in the config."""
        return ImageCount(section[f"n_{split}"], "draw")


def declare_demo_clip(plan) -> None:
    """Declare the training of the demo CLIP, which no target of the workflow contains."""
    plan.step(DEMO_CLIP, values={"seed": 0}, version={"version": PRETRAIN_VERSION})


WORDS["demo"] = "clip_sae_demo.words:VOCABULARY"
STEPS.append(declare_demo_clip)
