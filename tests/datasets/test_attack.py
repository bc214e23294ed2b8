"""The synthetic attack: its records match its drawing, and an image's own seed decides both."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_sae.datasets.attack.lettered import COLOURS, attack_image, attack_rng, broken_lines

NAMES = ("sun", "great white shark", "coffee dispenser", "jack-o'-lantern", "sun")
GREY = np.full((56, 56, 3), 90, np.uint8)


def attack(pixels=GREY, label=0, names=NAMES, seed=0, path="a.png", **options):
    return attack_image(pixels, label, names, attack_rng(seed, path), **options)


@settings(max_examples=40, deadline=None)
@given(
    label=st.integers(0, 4),
    seed=st.integers(0, 10_000),
    side=st.integers(24, 96),
    least=st.floats(0.1, 0.3),
)
def test_all_changed_pixels_lie_in_the_recorded_box(label, seed, side, least):
    pixels = np.full((side, side + 8, 3), 90, np.uint8)
    written, facts = attack(pixels, label, seed=seed, font_size=(least, least + 0.2))
    left, top, right, bottom = facts.box
    assert 0 <= left < right <= side + 8 and 0 <= top < bottom <= side
    outside = np.ones(pixels.shape[:2], bool)
    outside[top:bottom, left:right] = False
    assert (written[outside] == 90).all()
    assert (written != pixels).any()
    assert (pixels == 90).all(), "the image that was given must not change"
    assert NAMES[facts.label_idx] != NAMES[label], "a word must not be the image's own name"
    assert facts.text == broken_lines(NAMES[facts.label_idx])
    assert facts.colour != facts.outline and {facts.colour, facts.outline} <= COLOURS.keys()


def test_the_path_and_the_seed_decide_and_nothing_else():
    written, facts = attack(path="b.png")
    again, same = attack(path="b.png")
    assert same == facts and np.array_equal(written, again)
    others = [attack(path=f"{i}.png")[1] for i in range(20)]
    assert len({(f.label_idx, f.font, f.size, f.colour, f.box) for f in others}) > 15
    assert attack(path="b.png", seed=1)[1] != facts


def test_sizes_are_shares_of_the_side_and_shrink_until_the_text_fits():
    sizes = {attack(names=("a", "b"), path=str(i), font_size=(0.2, 0.3))[1].size for i in range(60)}
    assert sizes == set(range(11, 18))
    long = attack(names=("a", "unreasonably"), font_size=(0.9, 0.9))[1]
    assert long.size < 20


def test_every_other_class_is_written_equally_often():
    names = [str(i) for i in range(5)]
    words = [attack(label=2, names=names, path=str(i))[1].label_idx for i in range(800)]
    counts = np.bincount(words, minlength=5)
    assert counts[2] == 0
    assert (np.abs(np.delete(counts, 2) - 200) < 60).all()


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("sun", "sun"),
        ("coffee dispenser", "coffee\ndispenser"),
        ("great white shark", "great\nwhite shark"),
        ("soft coated wheaten terrier", "soft coated\nwheaten terrier"),
        ("", ""),
    ],
)
def test_lines_break_as_in_the_authors_generator(name, lines):
    assert broken_lines(name) == lines


def test_a_set_of_one_name_cannot_be_attacked():
    with pytest.raises(ValueError, match="all classes have the name 'sun'"):
        attack(names=("sun", "sun"))
