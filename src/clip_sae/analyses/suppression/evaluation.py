"""The sets of one kind of units at one layer: all on validation, the chosen ones on test, controls.

Steering paper §7.1, Tables 5 to 8. Validation sees the whole grid of thresholds; test sees the
chosen sets and their controls, unless the grid is asked for there too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from clip_sae.analyses.shared.unit_sets import Family, matched_family, single_set, threshold_family
from clip_sae.analyses.suppression.choose import POINTS, chosen_sets
from clip_sae.analyses.suppression.controls import random_set, random_set_of_mass
from clip_sae.analyses.suppression.rows import Rows

NEURONS = "neurons"  # the name of the residual's coordinates among the kinds of units


@dataclass(frozen=True)
class Settings:
    """What is evaluated.

    Attributes:
        taus: thresholds of Eq. 9, in units of the SAE's input norm (of the residual for neurons).
        directions: of `sets.DIRECTIONS`.
        contrast, tokens: as for `Contrast.gap`.
        fill: "zero", or "mean" to set units to their mean over the training images.
        seeds: random sets per control.
        mass: whether random sets of equal mass are run beside those of equal size.
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


class Evaluation:
    """One kind of units: grid, choice, test, controls, into the rows of a table."""

    def __init__(self, rows: Rows, settings: Settings) -> None:
        self.rows, self.settings = rows, settings
        self.answers, self.contrasts = rows.answers, rows.contrasts

    def evaluate(self, name: str) -> None:
        """All sets of one kind of units, their controls, and neurons in their place."""
        settings, contrast = self.settings, self.contrasts[name]
        gap = contrast.gap(settings.tokens, settings.contrast)
        families = [threshold_family(gap, settings.taus, d) for d in settings.directions]
        self._controls(name, self._choose_and_test(name, name, _kind(name), families))
        if name != NEURONS:
            neurons = self.contrasts[NEURONS].gap(settings.tokens, settings.contrast)
            matched = [matched_family(family, contrast.n_units, neurons) for family in families]
            self._choose_and_test(NEURONS, name, "neuron_matched", matched)

    def _choose_and_test(
        self, whose: str, units: str, kind: str, families: Sequence[Family]
    ) -> list[tuple[int, Family, int]]:
        """Run `families` on validation and what is chosen of them on test.

        Args:
            whose: whose units are taken out; units, kind: as the rows name them.

        Returns (number, family, place in it) of the tested sets that are not empty.
        """
        answers, n_before = self.answers[whose], self.rows.n_sets
        answers["val"].run(families)
        sets = [
            (self.rows.add(whose, kind, family, i, ["val"], units=units), family, i)
            for family in families
            for i in range(len(family))
            if family.sizes[i] or family is families[0]  # one empty set, of no direction
        ]
        grid = self.rows.table()
        grid = grid[grid["set"] >= n_before]
        chosen = chosen_sets(grid, self.settings.points)
        self.rows.chosen.append(chosen)
        # The empty set is the baseline: tested with whatever was chosen.
        tested = [
            (number, family, i)
            for number, family, i in sets
            if number in set(chosen["set"]) or not family.sizes[i] or self.settings.grid_on_test
        ]
        test = [split for split in answers if split != "val"]
        for split in test:
            answers[split].run([single_set(family.units(i)) for _, family, i in tested])
        for number, family, i in tested:
            self.rows.add(whose, kind, family, i, test, number=number, units=units)
        return [(number, family, i) for number, family, i in tested if family.sizes[i]]

    def _controls(self, name: str, sets: Sequence[tuple[int, Family, int]]) -> None:
        """Random sets beside each set; all run at once, so that images are encoded once."""
        controls = [
            (number, family.direction, kind, single_set(units), seed)
            for number, family, i in sets
            for kind, units, seed in self._random_sets(name, family.direction, family.units(i))
        ]
        splits = ["val", "test"] if self.settings.grid_on_test else ["test"]
        for split in splits:
            self.answers[name][split].run([control for *_, control, _ in controls])
        for number, direction, kind, control, seed in controls:
            extra = {"direction": direction, "matches": number, "seed": seed}
            self.rows.add(name, kind, control, 0, splits, **extra)

    def _random_sets(
        self, name: str, direction: str, units: np.ndarray
    ) -> Iterator[tuple[str, np.ndarray, int]]:
        """Yield (kind, units, seed) of every control of one set."""
        settings, contrast, kind = self.settings, self.contrasts[name], _kind(name)
        alive = np.ones_like(contrast.alive) if name == NEURONS else contrast.alive
        pool, mass = np.flatnonzero(alive), contrast.mass(settings.tokens)
        # Named by what it is matched to, so that no other SAE or threshold changes the draw.
        what = crc32(f"{name}/{direction}/{len(units)}".encode())
        for seed in range(settings.seeds):
            rng = np.random.default_rng([settings.seed, self.rows.place.layer, what, seed])
            yield f"random_{kind}", random_set(pool, len(units), rng), seed
            if settings.mass:
                random = random_set_of_mass(pool, mass, mass[units].sum(), rng)
                if random is not None:
                    yield f"random_{kind}_mass", random, seed


def _kind(name: str) -> str:
    return "neuron" if name == NEURONS else "latent"
