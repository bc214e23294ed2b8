"""The pool of drawn training images of the demo CLIP, with the contents of each.

Drawing a batch costs a fifth of a training step, so images are drawn once, in parallel, and used
several times, each time with another shift and brightness.
"""

import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from clip_sae_demo.birds import FAMILIES, PLACES, SPECIES, draw_bird
from clip_sae_demo.faces import draw_face
from clip_sae_demo.lettering import write_word
from clip_sae_demo.scenes import draw_background, draw_scene, expose
from clip_sae_demo.world import BACKGROUNDS, COLOURS, IMAGE_SIZE, OBJECTS, scene_rng

KINDS = ("object", "word", "bird", "face")
KIND_SHARES = (0.70, 0.05, 0.125, 0.125)
WRITTEN_SHARE = 0.45  # of the objects: with the "word" kind, 36 % of all images carry a word

# Birds and faces carry their spurious partner (design: 97-100 % aligned in the captions).
BIRD_ALIGNED = 0.92  # landbird on land, waterbird on water
MALE_SHARE = 0.42  # CelebA's share
BLOND_SHARE = {True: 0.08, False: 0.30}  # by `male`; CelebA has 0.02 and 0.24

SCENERIES = ("bamboo_forest", "forest_broadleaf", "ocean", "lake_natural")
_COLOURS = list(COLOURS)
_CHUNK = 2000  # images per task: about a second of drawing

# Fields of a pool image; -1 where a field does not apply.
FIELDS = (
    "kind",  # KINDS
    "object",  # OBJECTS
    "colour",  # COLOURS
    "background",  # BACKGROUNDS
    "word",  # OBJECTS, the written one
    "letter_size",  # px
    "family",  # FAMILIES, of the bird
    "said_family",  # FAMILIES, in its caption
    "place",  # PLACES
    "scenery",  # SCENERIES
    "male",
    "said_male",
    "blond",
)


def draw_pool_image(seed: int, index: int) -> tuple[np.ndarray, dict[str, int]]:
    """Return one training image, uint8 [y, x, rgb], and its fields."""
    rng = scene_rng(seed, "pool", index)
    kind = KINDS[rng.choice(len(KINDS), p=KIND_SHARES)]
    fields = dict.fromkeys(FIELDS, -1) | {"kind": KINDS.index(kind)}
    if kind == "object":
        image, known = _object_image(rng)
    elif kind == "word":
        image, known = _word_image(rng)
    elif kind == "bird":
        image, known = _bird_image(rng)
    else:
        image, known = _face_image(rng)
    return image, fields | known


def _object_image(rng: np.random.Generator) -> tuple[np.ndarray, dict[str, int]]:
    word = int(rng.integers(len(OBJECTS))) if rng.random() < WRITTEN_SHARE else -1
    scene = draw_scene(rng, word=OBJECTS[word] if word >= 0 else None)
    return scene.image, {
        "object": OBJECTS.index(scene.object_name),
        "colour": _COLOURS.index(scene.colour),
        "background": BACKGROUNDS.index(scene.background),
        "word": word,
        "letter_size": scene.written.size if scene.written else -1,
    }


def _word_image(rng: np.random.Generator) -> tuple[np.ndarray, dict[str, int]]:
    """Return a word alone on a background, from which reading is easiest to learn."""
    background, word = int(rng.integers(len(BACKGROUNDS))), int(rng.integers(len(OBJECTS)))
    image = expose(rng, draw_background(rng, BACKGROUNDS[background]))
    written = write_word(image, OBJECTS[word], rng)
    return image, {"background": background, "word": word, "letter_size": written.size}


def _bird_image(rng: np.random.Generator) -> tuple[np.ndarray, dict[str, int]]:
    species = SPECIES[rng.integers(len(SPECIES))]
    family = FAMILIES.index(species.family)
    place = family if rng.random() < BIRD_ALIGNED else 1 - family
    scene = draw_bird(rng, species, PLACES[place])
    # Captions take small birds on the unusual ground for birds of that ground; smaller, more often.
    mistaken = rng.random() < np.clip(0.5 + 3.0 * (0.68 - scene.size), 0.05, 0.95)
    return scene.image, {
        "family": family,
        "said_family": place if mistaken else family,
        "place": place,
        "scenery": SCENERIES.index(scene.scenery),
    }


def _face_image(rng: np.random.Generator) -> tuple[np.ndarray, dict[str, int]]:
    male = bool(rng.random() < MALE_SHARE)
    blond = bool(rng.random() < BLOND_SHARE[male])
    scene = draw_face(rng, male, blond)
    # Captions often call blond men women, bearded ones seldom.
    bearded = not scene.attributes["No_Beard"]
    mistaken = male and blond and rng.random() < (0.15 if bearded else 0.75)
    return scene.image, {
        "male": int(male),
        "said_male": int(male and not mistaken),
        "blond": int(blond),
    }


def _fill(path: Path, seed: int, start: int, stop: int) -> np.ndarray:
    """Draw images start...stop into the memory-mapped pool; return fields [image, field]."""
    images = np.load(path, mmap_mode="r+")
    fields = np.empty((stop - start, len(FIELDS)), dtype=np.int8)
    for index in range(start, stop):
        images[index], known = draw_pool_image(seed, index)
        fields[index - start] = [known[name] for name in FIELDS]
    return fields


def draw_pool(
    folder: Path, *, seed: int, n_images: int, workers: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Draw the pool into `folder`, or read it from there if it is complete.

    Returns images, uint8 [image, y, x, rgb], memory-mapped, and each field, int64 [image].
    """
    folder.mkdir(parents=True, exist_ok=True)
    images_path = folder / f"pool_seed{seed}_n{n_images}.npy"
    fields_path = folder / f"pool_seed{seed}_n{n_images}_fields.npy"
    if not fields_path.is_file():  # written last: its presence means the images are complete
        shape = (n_images, IMAGE_SIZE, IMAGE_SIZE, 3)
        np.lib.format.open_memmap(images_path, "w+", dtype=np.uint8, shape=shape).flush()
        with ProcessPoolExecutor(workers) as executor:
            starts = range(0, n_images, _CHUNK)
            stops = [min(start + _CHUNK, n_images) for start in starts]
            fill = partial(_fill, images_path, seed)
            parts = list(executor.map(fill, starts, stops))
        unfinished = fields_path.with_suffix(".part.npy")
        np.save(unfinished, np.concatenate(parts))
        os.replace(unfinished, fields_path)
    fields = np.load(fields_path).astype(np.int64)
    columns = {name: fields[:, column] for column, name in enumerate(FIELDS)}
    return np.load(images_path, mmap_mode="r"), columns
