"""The rows of one layer: a set of units, where it comes from, and how the model does without it.

Steering paper Tables 5 to 8, before anything is chosen among their sets.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from clip_sae.analyses.shared.contrast import Contrast
from clip_sae.analyses.shared.groups import N_GROUPS, Scores, count_correct
from clip_sae.analyses.shared.unit_sets import Family
from clip_sae.analyses.suppression.answers import Answers


@dataclass(frozen=True)
class Place:
    """What all rows of a run share; the first columns of the table."""

    layer: int
    contrast: str
    tokens: str
    fill: str


class Rows:
    """Collects rows, and with each the bits that say which images are answered rightly.

    Args:
        answers: for each kind of units (a name), the `Answers` of each split.
        contrasts: by the same names.
        train: [group] training images, for the adjusted accuracy.

    Attributes:
        n_sets: how many sets have been numbered.
        chosen: tables of `choose.chosen_sets`, one for each kind of units.
    """

    def __init__(
        self,
        place: Place,
        answers: Mapping[str, Mapping[str, Answers]],
        contrasts: Mapping[str, Contrast],
        train: np.ndarray,
    ) -> None:
        self.place, self.answers, self.contrasts = place, answers, contrasts
        self.train = train
        self._rows: list[dict] = []
        self._bits: dict[str, list[np.ndarray]] = {}
        self.n_sets = 0
        self.chosen: list[pd.DataFrame] = []

    def add(
        self,
        name: str,
        kind: str,
        family: Family,
        i: int,
        splits: Iterable[str],
        number: int | None = None,
        **extra: object,
    ) -> int:
        """Add a row per split for set `i` of `family`, which has been run; return its number.

        Args:
            name: whose units these are.
            number: of a set that has rows already, on other splits.
            extra: columns that replace those written here.
        """
        if number is None:
            number, self.n_sets = self.n_sets, self.n_sets + 1
        units, contrast = family.units(i), self.contrasts[name]
        mass = contrast.mass(self.place.tokens)
        about = {
            "layer": self.place.layer,
            "units": name,
            "kind": kind,
            "direction": family.direction if len(units) else "none",
            "contrast": self.place.contrast,
            "tokens": self.place.tokens,
            "fill": self.place.fill,
            "tau_low": family.tau_low[i],
            "tau_high": family.tau_high[i],
            "n_units": len(units),
            "n_all": contrast.n_units,
            "mass": float(mass[units].sum() / mass.sum()),
            "set": number,
            "matches": -1,
            "seed": -1,
        }
        for split in splits:
            answers = self.answers[name][split]
            right, group = answers.of(units), answers.groups.group
            total = np.bincount(group, minlength=N_GROUPS)
            scores = Scores(count_correct(right, group), total, self.train)
            bits = self._bits.setdefault(split, [])
            place = {"split": split, "bits": len(bits), "n_images": len(right)}
            columns = {key: value.item() for key, value in scores.columns().items()}
            self._rows.append({**about, **place, **columns, **extra})
            bits.append(right)
        return number

    def table(self) -> pd.DataFrame:
        """All rows so far."""
        return pd.DataFrame(self._rows)

    def right(self) -> dict[str, np.ndarray]:
        """{split: [bits, image] bool}: the answers behind the rows."""
        return {split: np.stack(found) for split, found in self._bits.items()}
