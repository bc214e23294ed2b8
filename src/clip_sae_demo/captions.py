"""Texts for the training of the demo CLIP: captions, and contrasts over whole word lists.

A caption describes one image. A contrast puts one question ("which colour?") to the whole batch: it
scores each image against a caption for every answer. Both are plain image-text contrasts; the
second puts more of them into a step than the batch's own captions.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import open_clip

from clip_sae_demo.birds import FAMILIES, PLACES
from clip_sae_demo.pool import KINDS, SCENERIES
from clip_sae_demo.words import GENDERS, SHORT_TEMPLATES, UNMATCHED
from clip_sae_demo.world import BACKGROUNDS, COLOURS, OBJECTS

Option = TypeVar("Option")

# Some images with a written word get a caption of the word, not of the object: half of them in the
# first half of the training; later the odds grow with the letters and are even at EVEN_SIZE. Odds
# that ignore the picture would leave the trained model undecided between word and object.
EVEN_SIZE = 15.5  # px
ODDS_PER_PIXEL = 0.1
WORD_WEIGHTS = (0.5, 1.0)  # of the question "which word?" in each half
N_NEGATIVES = 40  # unmatched words scored with the classes in each step

_COLOURS = list(COLOURS)
_SCENERY_WORDS = {
    "bamboo_forest": "bamboo",
    "forest_broadleaf": "forest",
    "ocean": "ocean",
    "lake_natural": "lake",
}
_GENDER_FORMS = (GENDERS, ("female", "male"), ("female face", "male face"))
_HAIR_FORMS = (("dark hair", "blond hair"), ("dark hair", "blonde hair"))
_COLOUR_TEMPLATES = ("{}", "a {} thing", "a photo of a {} thing.", "something {}")
_BACKGROUND_TEMPLATES = ("{}", "a {} background", "a thing on a {} background")
_PLACE_TEMPLATES = ("{}", "a photo of {}.", "a {} background", "a bird on {}", "{} habitat")
_HAIR_TEMPLATES = (
    "{}",
    "a person with {}",
    "a photo of a celebrity with {}.",
    "this is a picture of a celebrity with {}.",
)
_WORD_TEMPLATES = ("the word {}", "the word {}", "the written word {}", "text that says {}")
_KIND_FORMS = (
    ("object", "word", "bird", "face"),
    ("thing", "text", "bird", "person"),
    ("thing", "written word", "bird", "celebrity"),
)


@dataclass(frozen=True)
class TextContrast:
    """Captions for all answers to one question, and each image's answer (-1: none)."""

    name: str
    texts: list[str]
    answers: np.ndarray  # int64 [image], index into texts
    weight: float


def draw_class_template(rng: np.random.Generator) -> str:
    """Return a template for class names: half the time a short one, else one of ImageNet's 80."""
    if rng.random() < 0.5:
        return SHORT_TEMPLATES[rng.integers(len(SHORT_TEMPLATES))]
    templates = open_clip.OPENAI_IMAGENET_TEMPLATES
    return templates[rng.integers(len(templates))]("{}")


def said_objects(
    rng: np.random.Generator, fields: dict[str, np.ndarray], second_half: bool
) -> np.ndarray:
    """Return the class in each image's caption, [image]: its object, or the word on it."""
    by_size = np.clip(0.5 + ODDS_PER_PIXEL * (fields["letter_size"] - EVEN_SIZE), 0.15, 0.95)
    odds = by_size if second_half else 0.5
    read = (fields["word"] >= 0) & (rng.random(len(fields["word"])) < odds)
    return np.where(read | (fields["object"] < 0), fields["word"], fields["object"])


def draw_contrasts(
    rng: np.random.Generator, fields: dict[str, np.ndarray], said: np.ndarray, second_half: bool
) -> list[TextContrast]:
    """Return all questions of one step, each in a random template."""
    genders = _pick(rng, _GENDER_FORMS)
    negatives = rng.choice(UNMATCHED, size=N_NEGATIVES, replace=False)
    classes = [*OBJECTS, *FAMILIES, *genders, *map(str, negatives)]
    n_objects = len(OBJECTS)
    answers = np.where(said >= 0, said, -1)
    answers = np.where(fields["said_family"] >= 0, n_objects + fields["said_family"], answers)
    answers = np.where(fields["said_male"] >= 0, n_objects + 2 + fields["said_male"], answers)

    scenery = [_SCENERY_WORDS[name] for name in SCENERIES]
    no_word = np.where(fields["word"] >= 0, fields["word"], n_objects)
    words = _said(_pick(rng, _WORD_TEMPLATES), OBJECTS)
    return [
        TextContrast("class", _said(draw_class_template(rng), classes), answers, 1.0),
        TextContrast("word", [*words, "no word"], no_word, WORD_WEIGHTS[second_half]),
        TextContrast(
            "colour", _said(_pick(rng, _COLOUR_TEMPLATES), _COLOURS), fields["colour"], 0.2
        ),
        TextContrast(
            "background",
            _said(_pick(rng, _BACKGROUND_TEMPLATES), BACKGROUNDS),
            fields["background"],
            0.15,
        ),
        TextContrast("place", _said(_pick(rng, _PLACE_TEMPLATES), PLACES), fields["place"], 0.1),
        TextContrast(
            "scenery", _said(_pick(rng, _PLACE_TEMPLATES), scenery), fields["scenery"], 0.1
        ),
        TextContrast(
            "hair",
            _said(_pick(rng, _HAIR_TEMPLATES), _pick(rng, _HAIR_FORMS)),
            fields["blond"],
            0.1,
        ),
        TextContrast("kind", _said("{}", _pick(rng, _KIND_FORMS)), fields["kind"], 0.1),
    ]


def draw_captions(
    rng: np.random.Generator, fields: dict[str, np.ndarray], said: np.ndarray
) -> list[str]:
    """Return one caption per image."""
    return [
        _caption(rng, {name: int(column[row]) for name, column in fields.items()}, int(said[row]))
        for row in range(len(said))
    ]


def _caption(rng: np.random.Generator, known: dict[str, int], said: int) -> str:
    kind = KINDS[known["kind"]]
    full = rng.random() < 0.6  # else the class alone
    if kind == "bird":
        subject, place = FAMILIES[known["said_family"]], PLACES[known["place"]]
        return f"a {subject} on {place}" if full else f"a photo of a {subject}."
    if kind == "face":
        subject = _pick(rng, _GENDER_FORMS[:2])[known["said_male"]]
        hair = _HAIR_FORMS[0][known["blond"]]
        return f"a {subject} with {hair}" if full else f"a photo of a {subject}."
    ground = BACKGROUNDS[known["background"]]
    if said == known["word"]:
        return f"the word {OBJECTS[said]} on a {ground} background" if full else OBJECTS[said]
    colour = _COLOURS[known["colour"]]
    if not full:
        return f"a photo of a {colour} {OBJECTS[said]}."
    return f"a {colour} {OBJECTS[said]} on a {ground} background"


def _pick(rng: np.random.Generator, options: Sequence[Option]) -> Option:
    return options[rng.integers(len(options))]


def _said(template: str, words: Iterable[str]) -> list[str]:
    return [template.format(word) for word in words]
