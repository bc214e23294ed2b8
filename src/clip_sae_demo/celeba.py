"""The CelebA-like set on disk: `img_align_celeba/000001.jpg`, ..., and the two official lists.

Official facts kept: file names, the 40 attribute names in their order, the text formats, the
partition codes, and hair colour as a correlate of gender (1 % of the real train images are blond
men). The demo takes more of them, or its small test split would hold none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clip_sae.datasets.writing import save_image
from clip_sae.planning.inputs import SPLITS
from clip_sae_demo.faces import draw_face
from clip_sae_demo.sets import World
from clip_sae_demo.world import scene_rng

_ATTRIBUTES = (
    "5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose "
    "Black_Hair Blond_Hair Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee "
    "Gray_Hair Heavy_Makeup High_Cheekbones Male Mouth_Slightly_Open Mustache Narrow_Eyes "
    "No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks Sideburns Smiling "
    "Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace "
    "Wearing_Necktie Young"
)
ATTRIBUTES = tuple(_ATTRIBUTES.split())

MALE_SHARE = 0.42  # of each split, as in CelebA
# Blond share by (split is train, male); train: 2 % of all images are blond men.
BLOND_SHARE = {(True, True): 0.05, (True, False): 0.24, (False, True): 0.12, (False, False): 0.24}

# Shares of the attributes that are not drawn, (women, men), rounded from CelebA.
_UNDRAWN = {
    "5_o_Clock_Shadow": (0.0, 0.26), "Arched_Eyebrows": (0.42, 0.05), "Attractive": (0.68, 0.28),
    "Bags_Under_Eyes": (0.10, 0.35), "Bald": (0.0, 0.0), "Big_Lips": (0.30, 0.15),
    "Big_Nose": (0.10, 0.42), "Blurry": (0.05, 0.05), "Chubby": (0.01, 0.12),
    "Double_Chin": (0.01, 0.10), "Heavy_Makeup": (0.66, 0.0), "High_Cheekbones": (0.56, 0.31),
    "Mouth_Slightly_Open": (0.53, 0.42), "Mustache": (0.0, 0.10), "Narrow_Eyes": (0.11, 0.12),
    "Oval_Face": (0.33, 0.22), "Pale_Skin": (0.06, 0.02), "Pointy_Nose": (0.34, 0.18),
    "Receding_Hairline": (0.04, 0.13), "Rosy_Cheeks": (0.11, 0.0), "Sideburns": (0.0, 0.13),
    "Straight_Hair": (0.20, 0.22), "Wavy_Hair": (0.45, 0.14), "Wearing_Earrings": (0.31, 0.02),
    "Wearing_Hat": (0.0, 0.0), "Wearing_Necklace": (0.21, 0.01), "Wearing_Necktie": (0.0, 0.17),
    "Young": (0.88, 0.64),
}  # fmt: skip


@dataclass(frozen=True)
class _Face:
    folder: Path
    seed: int
    split: str
    index: int  # within its split; names the image's randomness
    number: int  # 1-based over all splits; names its file
    male: bool
    blond: bool


def _plan(folder: Path, seed: int, counts: Mapping[str, int]) -> list[_Face]:
    """Return all faces, split after split as in CelebA; the shares are exact."""
    (folder / "img_align_celeba").mkdir()
    faces = []
    for split, n in counts.items():
        n_male = round(MALE_SHARE * n)
        cells = []  # (male, blond)
        for male, n_gender in ((True, n_male), (False, n - n_male)):
            n_blond = round(BLOND_SHARE[split == "train", male] * n_gender)
            cells += [(male, i < n_blond) for i in range(n_gender)]
        for index, cell in enumerate(scene_rng(seed, "celeba", split).permutation(n)):
            faces.append(_Face(folder, seed, split, index, len(faces) + 1, *cells[cell]))
    return faces


def _face_image(face: _Face) -> list[int]:
    """Draw one face; return its 40 attributes as 1 and -1."""
    rng = scene_rng(face.seed, "celeba", face.split, face.index)
    scene = draw_face(rng, face.male, face.blond)
    save_image(face.folder / "img_align_celeba" / f"{face.number:06d}.jpg", scene.image)
    known = scene.attributes | _undrawn(rng, face.male)
    return [1 if known[name] else -1 for name in ATTRIBUTES]


def _undrawn(rng: np.random.Generator, male: bool) -> dict[str, bool]:
    """Return random values, at CelebA's shares, for the attributes that the drawing lacks."""
    return {name: bool(rng.random() < shares[male]) for name, shares in _UNDRAWN.items()}


def _finish(folder: Path, faces: Sequence[_Face], rows: list) -> None:
    lines, partition = [str(len(rows)), " ".join(ATTRIBUTES)], []
    for face, row in zip(faces, rows, strict=True):
        name = f"{face.number:06d}.jpg"
        lines.append(f"{name} " + " ".join(f"{value:2d}" for value in row))
        partition.append(f"{name} {SPLITS.index(face.split)}")
    (folder / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    (folder / "list_eval_partition.txt").write_text("\n".join(partition) + "\n")


CELEBA = World(_plan, _face_image, _finish)
