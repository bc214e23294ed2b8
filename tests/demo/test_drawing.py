"""The drawn scenes: one seed, one image; every class present, masked and readable."""

import subprocess
import sys

import numpy as np
import pytest

from clip_sae_demo.birds import FAMILIES, PLACES, SPECIES, draw_bird
from clip_sae_demo.faces import draw_face
from clip_sae_demo.lettering import FONT_SIZES, write_word
from clip_sae_demo.scenes import draw_background, draw_scene
from clip_sae_demo.shapes import DRAWERS
from clip_sae_demo.world import BACKGROUNDS, COLOURS, IMAGE_SIZE, OBJECTS, scene_rng

SHAPE = (IMAGE_SIZE, IMAGE_SIZE, 3)


def test_a_key_names_one_image():
    first = draw_scene(scene_rng(0, "general", "test", 7))
    draw_scene(scene_rng(0, "general", "test", 8))  # drawing another between changes nothing
    again = draw_scene(scene_rng(0, "general", "test", 7))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.mask, again.mask)


@pytest.mark.parametrize("other", [(1, "general", "test", 7), (0, "general", "val", 7)])
def test_another_key_is_another_image(other):
    image = draw_scene(scene_rng(0, "general", "test", 7)).image
    assert not np.array_equal(image, draw_scene(scene_rng(*other)).image)


def test_there_is_a_drawing_for_every_class():
    assert tuple(DRAWERS) == OBJECTS
    assert len(OBJECTS) == 24
    assert len(COLOURS) == 8
    assert len(BACKGROUNDS) == 6


@pytest.mark.parametrize("name", OBJECTS)
def test_object_is_large_and_inside_its_mask(name):
    for index in range(6):
        scene = draw_scene(scene_rng(0, "masks", name, index), name)
        assert scene.image.shape == SHAPE and scene.image.dtype == np.uint8
        assert scene.mask.shape == SHAPE[:2] and scene.mask.dtype == bool
        assert 0.03 < scene.mask.mean() < 0.75


@pytest.mark.parametrize("colour", COLOURS)
def test_masked_pixels_have_the_colour(colour):
    """The mask covers the object: the median masked pixel is nearest to the scene's colour."""
    scenes = (draw_scene(scene_rng(0, "colours", index)) for index in range(300))
    names = list(COLOURS)
    tones = np.array(list(COLOURS.values()))
    hits = []
    for scene in (one for one in scenes if one.colour == colour):
        median = np.median(scene.image[scene.mask], axis=0)
        hits.append(names[int(np.abs(tones - median).sum(axis=1).argmin())] == colour)
    assert len(hits) > 15
    assert np.mean(hits) > 0.9


def test_without_an_object_the_background_shows():
    """Outside the mask, object and word change nothing: the same lot gives the same ground."""
    scene = draw_scene(scene_rng(0, "ground", 1), "ring")
    other = draw_scene(scene_rng(0, "ground", 1), "key")
    outside = ~(scene.mask | other.mask)
    # Anti-aliased rims are partly covered, hence not all pixels.
    same = (scene.image[outside] == other.image[outside]).all(axis=1)
    assert same.mean() > 0.85


@pytest.mark.parametrize("word", ["sun", "crown", "house"])
def test_word_changes_pixels_inside_its_box_only(word):
    for index in range(20):
        clean = draw_scene(scene_rng(0, "words", index), "cup")
        attacked = draw_scene(scene_rng(0, "words", index), "cup", word)
        written = attacked.written
        assert written is not None and written.word == word
        left, top, right, bottom = written.box
        assert 0 <= left < right <= IMAGE_SIZE and 0 <= top < bottom <= IMAGE_SIZE
        assert FONT_SIZES[0] - 3 <= written.size <= FONT_SIZES[1]
        changed = (clean.image != attacked.image).any(axis=2)
        inside = np.zeros_like(changed)
        inside[top:bottom, left:right] = True
        assert not (changed & ~inside).any()
        assert changed.sum() > 30  # px of ink


def test_words_come_in_many_looks():
    looks = set()
    for index in range(60):
        image = draw_background(scene_rng(0, "looks", index), "plain").astype(np.uint8)
        written = write_word(image, "cat", scene_rng(0, "looks", index))
        looks.add((written.font, written.colour, written.size, written.box[:2]))
    assert len(looks) > 50


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("species", SPECIES, ids=lambda species: species.name)
def test_birds(species, place):
    scene = draw_bird(scene_rng(0, species.name), species, place)
    assert scene.image.shape == SHAPE
    assert scene.family in FAMILIES
    assert (scene.family, scene.place) == (species.family, place)


def test_water_is_bluer_than_land():
    blueness = {}
    for place in PLACES:
        scenes = [draw_bird(scene_rng(0, place, i), SPECIES[i % 8], place) for i in range(40)]
        images = np.stack([scene.image for scene in scenes]).astype(float)
        blueness[place] = (images[..., 2] - images[..., 1]).mean()  # blue less green
    assert blueness["water"] > blueness["land"] + 20


def test_faces_report_what_they_show():
    for index in range(40):
        male, blond = bool(index % 2), bool(index // 2 % 2)
        face = draw_face(scene_rng(0, "faces", index), male, blond)
        assert face.image.shape == SHAPE
        assert face.attributes["Male"] == male and face.attributes["Blond_Hair"] == blond
        hairs = [n for n in ("Blond_Hair", "Black_Hair", "Brown_Hair", "Gray_Hair")]
        assert sum(face.attributes[name] for name in hairs) == 1
        assert male or face.attributes["No_Beard"]


def test_drawing_needs_no_torch():
    """Drawing runs in cheap rules; torch alone would cost more than a thousand images."""
    code = "import sys, clip_sae_demo.sets; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
