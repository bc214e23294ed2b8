"""The Waterbirds-like set on disk: `001.Sparrow/Sparrow_0001.jpg`, ..., `metadata.csv`.

Official facts kept: columns and their codes, 1-based `img_id` in the order of the files, three
landbirds to one waterbird, 95 % of train on the usual ground, val and test half and half within
each family (Sagawa et al. 2020).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clip_sae.datasets.writing import save_image, write_csv
from clip_sae.planning.inputs import SPLITS
from clip_sae_demo.birds import FAMILIES, PLACES, SPECIES, draw_bird
from clip_sae_demo.sets import World
from clip_sae_demo.world import scene_rng

LANDBIRD_SHARE = 0.77  # official: 8,192 landbirds of 11,788 images (0.77 of train, 0.78 of test)
ALIGNED_SHARE = {"train": 0.95, "val": 0.5, "test": 0.5}

# Folders of the Places data set, from which the official backgrounds were cut.
_PLACES_FOLDERS = {
    "bamboo_forest": "/b/bamboo_forest",
    "forest_broadleaf": "/f/forest/broadleaf",
    "ocean": "/o/ocean",
    "lake_natural": "/l/lake/natural",
}


@dataclass(frozen=True)
class _Bird:
    folder: Path
    seed: int
    split: str
    species: int  # index into SPECIES
    place: int  # index into PLACES
    index: int  # within its split and family; names the image's randomness
    number: int  # 1-based within its species; names its file


def _plan(folder: Path, seed: int, counts: Mapping[str, int]) -> list[_Bird]:
    """Return all birds, sorted by species as the official list; the shares are exact."""
    cells = []  # (species, split, place, index)
    for split, n in counts.items():
        n_land = round(LANDBIRD_SHARE * n)
        for family, n_family in enumerate((n_land, n - n_land)):
            members = [i for i, one in enumerate(SPECIES) if one.family == FAMILIES[family]]
            n_aligned = round(ALIGNED_SHARE[split] * n_family)
            places = [family] * n_aligned + [1 - family] * (n_family - n_aligned)
            scene_rng(seed, "waterbirds", split, FAMILIES[family]).shuffle(places)
            cells += [
                (members[i % len(members)], split, place, i) for i, place in enumerate(places)
            ]
    cells.sort(key=lambda cell: (cell[0], SPLITS.index(cell[1])))
    numbers = dict.fromkeys(range(len(SPECIES)), 0)
    birds = []
    for species, split, place, index in cells:
        numbers[species] += 1
        birds.append(_Bird(folder, seed, split, species, place, index, numbers[species]))
    for species in {bird.species for bird in birds}:
        (folder / _folder_name(species)).mkdir()
    return birds


def _folder_name(species: int) -> str:
    return f"{species + 1:03d}.{SPECIES[species].name}"


def _bird_image(bird: _Bird) -> dict[str, object]:
    species = SPECIES[bird.species]
    rng = scene_rng(bird.seed, "waterbirds", bird.split, species.family, bird.index)
    scene = draw_bird(rng, species, PLACES[bird.place])
    relative = f"{_folder_name(bird.species)}/{species.name}_{bird.number:04d}.jpg"
    save_image(bird.folder / relative, scene.image)
    return {
        "img_filename": relative,
        "y": FAMILIES.index(species.family),
        "split": SPLITS.index(bird.split),
        "place": bird.place,
        "place_filename": f"{_PLACES_FOLDERS[scene.scenery]}/{bird.number:08d}.jpg",
    }


def _finish(folder: Path, birds: Sequence[_Bird], rows: list) -> None:
    numbered = [{"img_id": i, **row} for i, row in enumerate(rows, start=1)]
    write_csv(folder / "metadata.csv", numbered)


WATERBIRDS = World(_plan, _bird_image, _finish)
