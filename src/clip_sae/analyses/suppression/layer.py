"""One layer of one data set: every set of every kind of units, on validation, then on test.

Steering paper §7.1, Tables 5 to 8. Validation sees the whole grid of thresholds; test sees the
chosen sets and their controls, unless the grid is asked for there too.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from clip_sae.analyses.suppression.ablation import Latents, Neurons
from clip_sae.analyses.suppression.answers import Answers
from clip_sae.analyses.suppression.bits import Bits
from clip_sae.analyses.suppression.choose import CONDITIONS, POINTS, choose
from clip_sae.analyses.suppression.contrast import Contrast
from clip_sae.analyses.suppression.controls import random_set, random_set_of_mass
from clip_sae.analyses.suppression.groups import Groups
from clip_sae.analyses.suppression.images import StoreImages
from clip_sae.analyses.suppression.rows import Place, Rows
from clip_sae.analyses.suppression.sets import Family, matched_family, single_set, threshold_family
from clip_sae.clip import ClipModel
from clip_sae.sae import Sae

NEURONS = "neurons"  # the name of the residual's coordinates among the kinds of units
FILLS = ("zero", "mean")


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


def evaluate_layer(
    model: ClipModel,
    layer: int,
    text: Tensor,
    splits: Mapping[str, StoreImages],
    groups: Groups,
    saes: Mapping[str, Sae],
    contrasts: Mapping[str, Contrast],
    train: np.ndarray,
    settings: Settings,
    *,
    progress: bool = True,
) -> tuple[pd.DataFrame, Bits]:
    """Return a row per set and split, for SAEs' latents and the residual's coordinates, and bits.

    Args:
        text: unit class texts [class, d_embed].
        splits: "val", "test", and "test_full" where those hold a balanced choice of images; on
            test_full only the chosen sets run.
        groups: of every row of the manifest.
        saes: by name, on the model's device.
        contrasts: by the same names, and NEURONS.
        train: [group] training images, for the adjusted accuracy.

    Columns: layer; units (name of the SAE, or "neurons"); kind (latent; neuron; neuron_matched: the
    neurons with the largest gap, as large a share of all as an SAE's set is of its latents;
    random_latent, random_neuron, random_latent_mass, random_neuron_mass); direction, contrast,
    tokens, fill; tau_low, tau_high (one row stands for all equal sets); n_units, n_all, mass (share
    of the mean token's mass); set (number within the layer), matches (the set that a random one is
    matched to, else −1), seed (of a random set, else −1); split; bits (row of `Bits.right`);
    n_images and the columns of `Scores`. Accuracies in 0…1. Each of latent, neuron and
    neuron_matched has its own empty set, the baseline, and is chosen by itself.
    """
    if settings.fill not in FILLS:
        raise ValueError(f"fill {settings.fill!r} does not exist; write {', '.join(FILLS)}.")
    fills = {name: _fill(settings, contrasts[name], model) for name in (*saes, NEURONS)}
    units = {name: Latents(sae, fills[name]) for name, sae in saes.items()}
    units[NEURONS] = Neurons(contrasts[NEURONS].n_units, fills[NEURONS])
    answers = {
        name: {
            split: Answers(model, layer, text, images, groups, kind)
            for split, images in splits.items()
        }
        for name, kind in units.items()
    }
    place = Place(layer, settings.contrast, settings.tokens, settings.fill)
    rows = Rows(place, answers, contrasts, train)
    run = _Run(rows, settings)
    for name in tqdm(units, desc=f"layer {layer}", unit="units", disable=not progress):
        run.evaluate(name)
    return rows.table(), rows.bits(groups, {s: i.rows for s, i in splits.items()})


def _fill(settings: Settings, contrast: Contrast, model: ClipModel) -> Tensor | None:
    if settings.fill == "zero":
        return None
    return torch.from_numpy(contrast.mean(settings.tokens)).float().to(model.device)


class _Run:
    """One kind of units after the other: grid, choice, test, controls."""

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
        chosen = {grid.loc[choose(grid, c, self.settings.points), "set"] for c in CONDITIONS}
        # The empty set is the baseline: tested with whatever was chosen.
        tested = [
            (number, family, i)
            for number, family, i in sets
            if number in chosen or not family.sizes[i] or self.settings.grid_on_test
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
