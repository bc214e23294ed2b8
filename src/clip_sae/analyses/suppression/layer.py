"""One layer of one data set: every set of every kind of units, on validation, then on test.

Steering paper §7.1, Tables 5 to 8. Each kind of units is evaluated for itself, so that an
evaluation resumes and splits over jobs.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from clip_sae.analyses.shared.blocks import Arrays, Blocks
from clip_sae.analyses.shared.contrast import Contrast
from clip_sae.analyses.shared.groups import Groups
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.shared.units import Latents, Neurons
from clip_sae.analyses.suppression.answers import Answers
from clip_sae.analyses.suppression.bits import Bits, pack
from clip_sae.analyses.suppression.evaluation import NEURONS, Evaluation, Settings
from clip_sae.analyses.suppression.rows import Place, Rows
from clip_sae.clip.model import ClipModel
from clip_sae.sae import Sae

FILLS = ("zero", "mean")


@dataclass(frozen=True)
class Layer:
    """What is evaluated on: a model, the residuals of one layer, and the units to take out.

    Attributes:
        text: unit class texts [class, d_embed].
        splits: "val", "test", and "test_full" where those hold a balanced choice of images; on
            test_full only the chosen sets run.
        groups: of every row of the manifest.
        saes: by name, on the model's device.
        contrasts: by the same names, and NEURONS.
        train: [group] training images, for the adjusted accuracy.
    """

    model: ClipModel
    layer: int
    text: Tensor
    splits: Mapping[str, StoreImages]
    groups: Groups
    saes: Mapping[str, Sae]
    contrasts: Mapping[str, Contrast]
    train: np.ndarray

    @property
    def kinds(self) -> list[str]:
        """Names of the kinds of units, in the order of the table."""
        return [*self.saes, NEURONS]

    def evaluate(self, name: str, settings: Settings) -> Arrays:
        """Rows, choices and bits of one kind of units, numbered from 0: `_join` takes them."""
        units = {whose: self._units(whose, settings) for whose in {name, NEURONS}}
        answers = {
            whose: {
                split: Answers(self.model, self.layer, self.text, images, self.groups, kind)
                for split, images in self.splits.items()
            }
            for whose, kind in units.items()
        }
        place = Place(self.layer, settings.contrast, settings.tokens, settings.fill)
        rows = Rows(place, answers, self.contrasts, self.train)
        Evaluation(rows, settings).evaluate(name)
        tables = {"table": rows.table(), "chosen": pd.concat(rows.chosen, ignore_index=True)}
        right = {f"right|{split}": pack(found) for split, found in rows.right().items()}
        return {key: part for name in tables for key, part in _columns(name, tables[name])} | right

    def _units(self, name: str, settings: Settings) -> Latents | Neurons:
        fill = _fill(settings, self.contrasts[name], self.model)
        if name == NEURONS:
            return Neurons(self.contrasts[NEURONS].n_units, fill)
        return Latents(self.saes[name], fill)


def evaluate_layer(
    layer: Layer, settings: Settings, *, blocks: Blocks | None = None, progress: bool = True
) -> tuple[pd.DataFrame, pd.DataFrame, Bits]:
    """Return rows (of SAEs' latents and the residual's coordinates), what is chosen, and bits.

    The rows have one for each set and split; what is chosen is as of `choose.chosen_sets`.

    Args:
        blocks: kinds of units that `evaluate_part` or a run before this one has done.

    Columns: layer; units (name of the SAE, or "neurons"); kind (latent; neuron; neuron_matched: the
    neurons with the largest gap, as large a share of all as an SAE's set is of its latents;
    random_latent, random_neuron, random_latent_mass, random_neuron_mass); direction, contrast,
    tokens, fill; tau_low, tau_high (one row stands for all equal sets); n_units, n_all, mass (share
    of the mean token's mass); set (number within the layer), matches (the set that a random one is
    matched to, else −1), seed (of a random set, else −1); split; bits (row of `Bits.right`);
    n_images and the columns of `Scores`. Accuracies in 0…1. Each of latent, neuron and
    neuron_matched has its own empty set, the baseline, and is chosen by itself.
    """
    parts = list(_evaluated(layer, settings, blocks or Blocks(), range(len(layer.kinds)), progress))
    images = {split: found.rows for split, found in layer.splits.items()}
    table, chosen, packed = _join(parts, list(images))
    group = {split: layer.groups.at(rows).group for split, rows in images.items()}
    return table, chosen, Bits(packed, images, group, layer.train)


def evaluate_part(
    layer: Layer,
    settings: Settings,
    blocks: Blocks,
    which: Iterable[int],
    *,
    progress: bool = True,
) -> None:
    """Evaluate some of `layer.kinds`, by their numbers, into `blocks`."""
    for _ in _evaluated(layer, settings, blocks, which, progress):
        pass


def _evaluated(
    layer: Layer, settings: Settings, blocks: Blocks, which: Iterable[int], progress: bool
) -> Iterator[Arrays]:
    """Yield what `Layer.evaluate` returns of each kind of units, by number."""
    if settings.fill not in FILLS:
        raise ValueError(f"fill {settings.fill!r} does not exist; write {', '.join(FILLS)}.")
    bar = tqdm(list(which), desc=f"layer {layer.layer}", unit="units", disable=not progress)
    for k in bar:
        yield blocks.get(
            f"units-{k:03d}", lambda name=layer.kinds[k]: layer.evaluate(name, settings)
        )


def _columns(name: str, table: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    """Yield ("<name>|<column>", values) of a table; text as text, never as objects."""
    for column in table:
        text = not pd.api.types.is_numeric_dtype(table[column])
        yield f"{name}|{column}", table[column].to_numpy(dtype=str if text else None)


def _table(name: str, part: Arrays) -> pd.DataFrame:
    """Return the table that `_columns` took apart."""
    columns = (key for key in part if key.startswith(f"{name}|"))
    return pd.DataFrame({key.removeprefix(f"{name}|"): part[key] for key in columns})


def _join(
    parts: Sequence[Arrays], splits: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, np.ndarray]]:
    """Rows, choices and packed answers of all kinds: their sets and bits numbered on."""
    tables, choices, n_sets = [], [], 0
    packed: dict[str, list[np.ndarray]] = {split: [] for split in splits}
    for part in parts:
        table, chosen = _table("table", part), _table("chosen", part)
        n_before = {split: sum(map(len, found)) for split, found in packed.items()}
        table["bits"] += table["split"].map(n_before)
        table["matches"] = table["matches"].where(table["matches"] < 0, table["matches"] + n_sets)
        table["set"] += n_sets
        chosen["set"] += n_sets
        n_sets = int(table["set"].max()) + 1
        tables.append(table)
        choices.append(chosen)
        for split in splits:
            packed[split].append(part[f"right|{split}"])
    rows, chosen = (pd.concat(found, ignore_index=True) for found in (tables, choices))
    return rows, chosen, {split: np.concatenate(found) for split, found in packed.items()}


def _fill(settings: Settings, contrast: Contrast, model: ClipModel) -> Tensor | None:
    if settings.fill == "zero":
        return None
    return torch.from_numpy(contrast.mean(settings.tokens)).float().to(model.device)
