"""Zero-shot accuracies of the demo CLIP: clean, attacked, and by group.

The measures are the papers': attacked images are scored over all classes; Waterbirds and CelebA
by (class, attribute) group, where the worst group counts.
"""

from dataclasses import dataclass

import numpy as np
import open_clip
import torch
from torch import Tensor

from clip_sae.clip.tokenizer import WordTokenizer
from clip_sae_demo.birds import FAMILIES, PLACES, SPECIES, draw_bird
from clip_sae_demo.faces import draw_face
from clip_sae_demo.losses import encode_texts, trim
from clip_sae_demo.model import to_pixels
from clip_sae_demo.scenes import draw_scene
from clip_sae_demo.words import GENDERS
from clip_sae_demo.world import OBJECTS, scene_rng

SINGLE = ("a photo of a {}.",)
ENSEMBLE = tuple(template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES)


@dataclass(frozen=True)
class LabelledImages:
    """Images with a class index and a second one: the written word or the group's attribute."""

    images: np.ndarray  # uint8 [image, y, x, rgb]
    labels: np.ndarray  # int64 [image]
    others: np.ndarray  # int64 [image]; -1 for none


def stack(rows: list[tuple[np.ndarray, int, int]]) -> LabelledImages:
    images, labels, others = zip(*rows, strict=True)
    return LabelledImages(np.stack(images), np.array(labels), np.array(others))


def draw_held_out(seed: int, n_per_set: int) -> dict[str, LabelledImages]:
    """Return new scenes for each measure; groups of birds and faces have equal size."""
    clean, attacked, birds, faces = [], [], [], []
    for index in range(n_per_set):
        label = index % len(OBJECTS)
        scene = draw_scene(scene_rng(seed, "clean", index), OBJECTS[label])
        clean.append((scene.image, label, -1))
        rng = scene_rng(seed, "attacked", index)
        word = (label + 1 + int(rng.integers(len(OBJECTS) - 1))) % len(OBJECTS)
        attacked.append((draw_scene(rng, OBJECTS[label], OBJECTS[word]).image, label, word))
        species, place = SPECIES[index % len(SPECIES)], index // len(SPECIES) % 2
        bird = draw_bird(scene_rng(seed, "birds", index), species, PLACES[place])
        birds.append((bird.image, FAMILIES.index(bird.family), place))
        male, blond = index % 2, index // 2 % 2
        face = draw_face(scene_rng(seed, "faces", index), bool(male), bool(blond))
        faces.append((face.image, male, blond))
    rows = {"clean": clean, "attacked": attacked, "birds": birds, "faces": faces}
    return {name: stack(part) for name, part in rows.items()}


@torch.inference_mode()
def embed_classes(
    model: torch.nn.Module, tokenizer: WordTokenizer, names: tuple[str, ...] | list[str],
    templates: tuple[str, ...],
) -> Tensor:  # fmt: skip
    """Return the mean of the unit embeddings over templates, renormalised; [class, embedding]."""
    texts = [template.format(name) for template in templates for name in names]
    embedded = encode_texts(model, trim(tokenizer(texts)))
    mean = embedded.view(len(templates), len(names), -1).mean(dim=0)
    return torch.nn.functional.normalize(mean, dim=-1)


@torch.inference_mode()
def predict(model: torch.nn.Module, images: np.ndarray, classes: Tensor) -> np.ndarray:
    """Return the index of the nearest class embedding, int64 [image]."""
    chunks = [
        (model.encode_image(to_pixels(chunk), normalize=True) @ classes.T).argmax(dim=1)
        for chunk in torch.from_numpy(images).split(256)
    ]
    return torch.cat(chunks).numpy()


def group_accuracies(data: LabelledImages, predicted: np.ndarray) -> dict[tuple[int, int], float]:
    """Return the accuracy of each (class, attribute) group."""
    right = predicted == data.labels
    groups = sorted(set(zip(data.labels.tolist(), data.others.tolist(), strict=True)))
    return {
        (label, other): float(right[(data.labels == label) & (data.others == other)].mean())
        for label, other in groups
    }


def score_sets(
    model: torch.nn.Module, tokenizer: WordTokenizer, sets: dict[str, LabelledImages]
) -> dict[str, float]:
    """Return all measures, as fractions, of the sets "clean", "attacked", "birds", "faces"."""
    model.eval()
    single = embed_classes(model, tokenizer, OBJECTS, SINGLE)
    ensemble = embed_classes(model, tokenizer, OBJECTS, ENSEMBLE)
    clean, attacked = sets["clean"], sets["attacked"]
    named = predict(model, attacked.images, single)
    scores = {
        "clean": float((predict(model, clean.images, single) == clean.labels).mean()),
        "clean_ensemble": float((predict(model, clean.images, ensemble) == clean.labels).mean()),
        "attacked": float((named == attacked.labels).mean()),
        "named_by_word": float((named == attacked.others).mean()),
    }
    for name, classes in (("birds", FAMILIES), ("faces", GENDERS)):
        data = sets[name]
        predicted = predict(model, data.images, embed_classes(model, tokenizer, classes, SINGLE))
        scores[f"{name}_average"] = float((predicted == data.labels).mean())
        scores[f"{name}_worst"] = min(group_accuracies(data, predicted).values())
    return scores
