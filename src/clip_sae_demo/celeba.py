"""The CelebA-like set on disk, with the official attribute and partition files.

Official facts kept: file names, the 40 attribute names in their order, the text formats, the
partition codes, and hair colour as a correlate of gender (1 % of the real train images are blond
men). The demo takes more of them, or its small test split would hold none.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clip_sae.datasets.writing import SPLITS, check_counts, draw_all, save_image, staged_folder
from clip_sae_demo.faces import draw_face
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
    "5_o_Clock_Shadow": (0.0, 0.26),
    "Arched_Eyebrows": (0.42, 0.05),
    "Attractive": (0.68, 0.28),
    "Bags_Under_Eyes": (0.10, 0.35),
    "Bald": (0.0, 0.0),
    "Big_Lips": (0.30, 0.15),
    "Big_Nose": (0.10, 0.42),
    "Blurry": (0.05, 0.05),
    "Chubby": (0.01, 0.12),
    "Double_Chin": (0.01, 0.10),
    "Heavy_Makeup": (0.66, 0.0),
    "High_Cheekbones": (0.56, 0.31),
    "Mouth_Slightly_Open": (0.53, 0.42),
    "Mustache": (0.0, 0.10),
    "Narrow_Eyes": (0.11, 0.12),
    "Oval_Face": (0.33, 0.22),
    "Pale_Skin": (0.06, 0.02),
    "Pointy_Nose": (0.34, 0.18),
    "Receding_Hairline": (0.04, 0.13),
    "Rosy_Cheeks": (0.11, 0.0),
    "Sideburns": (0.0, 0.13),
    "Straight_Hair": (0.20, 0.22),
    "Wavy_Hair": (0.45, 0.14),
    "Wearing_Earrings": (0.31, 0.02),
    "Wearing_Hat": (0.0, 0.0),
    "Wearing_Necklace": (0.21, 0.01),
    "Wearing_Necktie": (0.0, 0.17),
    "Young": (0.88, 0.64),
}


@dataclass(frozen=True)
class _Face:
    folder: Path
    seed: int
    split: str
    index: int  # within its split; names the image's randomness
    number: int  # 1-based over all splits; names its file
    male: bool
    blond: bool


def write_celeba(
    root: Path,
    *,
    seed: int,
    n_train: int,
    n_val: int,
    n_test: int,
    workers: int = 1,
    progress: bool = True,
) -> None:
    """Write `<root>/celeba`: `img_align_celeba/000001.jpg`, ..., and the two lists."""
    counts = check_counts("celeba", n_train, n_val, n_test)
    with staged_folder(Path(root) / "celeba") as folder:
        (folder / "img_align_celeba").mkdir()
        faces = _plan(folder, seed, counts)
        rows = draw_all(_face_image, faces, workers=workers, progress=progress, name="celeba")
        names = [f"{face.number:06d}.jpg" for face in faces]
        lines = [str(len(rows)), " ".join(ATTRIBUTES)]
        lines += [
            f"{name} " + " ".join(f"{value:2d}" for value in row)
            for name, row in zip(names, rows, strict=True)
        ]
        (folder / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
        partition = [
            f"{name} {SPLITS.index(face.split)}" for name, face in zip(names, faces, strict=True)
        ]
        (folder / "list_eval_partition.txt").write_text("\n".join(partition) + "\n")


def _plan(folder: Path, seed: int, counts: dict[str, int]) -> list[_Face]:
    """All faces, split after split as in CelebA; shares are met exactly."""
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
    """Draw one face; returns its 40 attributes as 1 and -1."""
    rng = scene_rng(face.seed, "celeba", face.split, face.index)
    scene = draw_face(rng, face.male, face.blond)
    save_image(face.folder / "img_align_celeba" / f"{face.number:06d}.jpg", scene.image)
    known = scene.attributes | _undrawn(rng, face.male)
    return [1 if known[name] else -1 for name in ATTRIBUTES]


def _undrawn(rng: np.random.Generator, male: bool) -> dict[str, bool]:
    """Attributes without a trace in the drawing, by lot at CelebA's shares."""
    return {name: bool(rng.random() < shares[male]) for name, shares in _UNDRAWN.items()}
