"""The sets of one kind of units at one layer: all on validation, the chosen ones on test, controls.

Steering paper §7.1, Tables 5 to 8. Validation sees the whole grid of thresholds; test sees the
chosen sets and their controls, or the whole grid where the config says so.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import pandas as pd

from clip_sae.analyses.shared.contrast import Contrast
from clip_sae.analyses.shared.groups import N_GROUPS, Scores, count_correct
from clip_sae.analyses.shared.names import NEURONS
from clip_sae.analyses.shared.unit_sets import (
    Family,
    matched_family,
    random_set,
    random_set_of_mass,
    single_set,
    threshold_family,
)
from clip_sae.analyses.suppression.choose import POINTS, chosen_sets
from clip_sae.analyses.suppression.set_answers import Answers


@dataclass(frozen=True)
class SetOptions:
    """The sets that are evaluated, and their splits.

    Attributes:
        taus: thresholds of Eq. 9, in units of the SAE's input norm (of the residual for neurons).
        directions: of `unit_sets.DIRECTIONS`.
        contrast, tokens: as for `Contrast.gap`.
        fill: "zero", or "mean" to set units to their mean over the training images.
        seeds: random sets per control.
        mass: also run random sets of equal mass.
        grid_on_test: run every set and its controls on both splits, not only the chosen ones.
        points: see `choose`.
        seed: of the random sets.
    """

    taus: tuple[float, ...]
    directions: tuple[str, ...]
    contrast: str = "plain"
    tokens: str = "all"
    fill: str = "zero"
    seeds: int = 5
    mass: bool = True
    grid_on_test: bool = False
    points: float = POINTS
    seed: int = 0


class SetRows:
    """Collects a row per set and split, and with each the answers [image] bool behind it.

    Args:
        layer: its number, for the rows.
        answers: for each kind of units (a name), the `Answers` of each split.
        contrasts: by the same names.
        train: [group] training images, for the adjusted accuracy.
    """

    def __init__(
        self,
        layer: int,
        options: SetOptions,
        answers: Mapping[str, Mapping[str, Answers]],
        contrasts: Mapping[str, Contrast],
        train: np.ndarray,
    ) -> None:
        self.layer, self.options, self.train = layer, options, train
        self.answers, self.contrasts = answers, contrasts
        self.n_sets = 0
        self._rows: list[dict] = []
        self._right: dict[str, list[np.ndarray]] = {}

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
        units, contrast, options = family.units(i), self.contrasts[name], self.options
        mass = contrast.mass(options.tokens)
        about = {
            "layer": self.layer,
            "units": name,
            "kind": kind,
            "direction": family.direction if len(units) else "none",
            "contrast": options.contrast,
            "tokens": options.tokens,
            "fill": options.fill,
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
            kept = self._right.setdefault(split, [])
            which = {"split": split, "bits": len(kept), "n_images": len(right)}
            columns = {key: value.item() for key, value in scores.columns().items()}
            self._rows.append({**about, **which, **columns, **extra})
            kept.append(right)
        return number

    def table(self) -> pd.DataFrame:
        """Return all rows so far."""
        return pd.DataFrame(self._rows)

    def right(self) -> dict[str, np.ndarray]:
        """Return {split: [bits, image] bool}, in the order of the column "bits"."""
        return {split: np.stack(found) for split, found in self._right.items()}


def evaluate_sets(rows: SetRows, name: str) -> pd.DataFrame:
    """Add all sets of one kind of units, their controls, and as many neurons; return the choices.

    The choices are those of `chosen_sets`, of the kind itself and of the neurons that match it.
    """
    options, contrast = rows.options, rows.contrasts[name]
    gap = contrast.gap(options.tokens, options.contrast)
    families = [threshold_family(gap, options.taus, d) for d in options.directions]
    tested, chosen = _choose_and_test(rows, name, name, _kind(name), families)
    _add_controls(rows, name, tested)
    if name == NEURONS:
        return chosen
    neurons = rows.contrasts[NEURONS].gap(options.tokens, options.contrast)
    matched = [matched_family(family, contrast.n_units, neurons) for family in families]
    _, of_matched = _choose_and_test(rows, NEURONS, name, "neuron_matched", matched)
    return pd.concat([chosen, of_matched], ignore_index=True)


def _choose_and_test(
    rows: SetRows, whose: str, units: str, kind: str, families: Sequence[Family]
) -> tuple[list[tuple[int, Family, int]], pd.DataFrame]:
    """Run `families` on validation and the sets that are chosen of them on test.

    Args:
        whose: whose units are set; units, kind: as the rows name them.

    Returns (number, family, place in it) of the tested sets that are not empty, and the choices.
    """
    answers, options, n_before = rows.answers[whose], rows.options, rows.n_sets
    answers["val"].run(families)
    sets = [
        (rows.add(whose, kind, family, i, ["val"], units=units), family, i)
        for family in families
        for i in range(len(family))
        if family.sizes[i] or family is families[0]  # one empty set, of no direction
    ]
    grid = rows.table()
    chosen = chosen_sets(grid[grid["set"] >= n_before], options.points)
    # The empty set is the baseline: tested with whatever was chosen.
    tested = [
        (number, family, i)
        for number, family, i in sets
        if number in set(chosen["set"]) or not family.sizes[i] or options.grid_on_test
    ]
    test = [split for split in answers if split != "val"]
    for split in test:
        answers[split].run([single_set(family.units(i)) for _, family, i in tested])
    for number, family, i in tested:
        rows.add(whose, kind, family, i, test, number=number, units=units)
    return [(number, family, i) for number, family, i in tested if family.sizes[i]], chosen


def _add_controls(rows: SetRows, name: str, sets: Sequence[tuple[int, Family, int]]) -> None:
    """Add random sets that match each set; all run at once, so that images are encoded once."""
    controls = [
        (number, family.direction, kind, single_set(units), seed)
        for number, family, i in sets
        for kind, units, seed in _random_sets(rows, name, family.direction, family.units(i))
    ]
    splits = ["val", "test"] if rows.options.grid_on_test else ["test"]
    for split in splits:
        rows.answers[name][split].run([control for *_, control, _ in controls])
    for number, direction, kind, control, seed in controls:
        extra = {"direction": direction, "matches": number, "seed": seed}
        rows.add(name, kind, control, 0, splits, **extra)


def _random_sets(
    rows: SetRows, name: str, direction: str, units: np.ndarray
) -> Iterator[tuple[str, np.ndarray, int]]:
    """Yield (kind, units, seed) of every control of one set."""
    options, contrast, kind = rows.options, rows.contrasts[name], _kind(name)
    alive = np.ones_like(contrast.alive) if name == NEURONS else contrast.alive
    pool, mass = np.flatnonzero(alive), contrast.mass(options.tokens)
    # Named by the set that it matches, so that no other SAE or threshold changes the draw.
    what = crc32(f"{name}/{direction}/{len(units)}".encode())
    for seed in range(options.seeds):
        rng = np.random.default_rng([options.seed, rows.layer, what, seed])
        yield f"random_{kind}", random_set(pool, len(units), rng), seed
        if options.mass:
            random = random_set_of_mass(pool, mass, mass[units].sum(), rng)
            if random is not None:
                yield f"random_{kind}_mass", random, seed


def _kind(name: str) -> str:
    return "neuron" if name == NEURONS else "latent"
