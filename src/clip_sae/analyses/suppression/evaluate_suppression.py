"""Every set of latents and neurons of one layer of one data set, set to zero or to the mean.

Steering paper §7.1, Tables 5 to 8. Each kind of units (an SAE's latents, neurons) is a chunk of its
own, so that an evaluation resumes and splits over jobs.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from clip_sae.analyses.shared.chunks import Arrays, Chunks
from clip_sae.analyses.shared.contrast import Contrast
from clip_sae.analyses.shared.groups import Groups
from clip_sae.analyses.shared.models import load_model
from clip_sae.analyses.shared.named_records import read_records
from clip_sae.analyses.shared.names import NEURONS
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.shared.unit_sets import threshold_grid
from clip_sae.analyses.shared.units import Latents, Neurons
from clip_sae.analyses.suppression.answer_bits import Bits, pack, write_bits
from clip_sae.analyses.suppression.evaluated_sets import SetOptions, SetRows, evaluate_sets
from clip_sae.analyses.suppression.grouped_set import GroupedSet
from clip_sae.analyses.suppression.set_answers import Answers
from clip_sae.clip.model import ClipModel
from clip_sae.files import write_output
from clip_sae.planning.inputs import ClipFiles, SaeFiles
from clip_sae.planning.scatter import share
from clip_sae.sae import Sae
from clip_sae.store import ActivationStore

FILLS = ("zero", "mean")


def evaluate_suppression(
    job,
    *,
    clip: ClipFiles,
    index: Path,
    stores: Mapping[str, Path],
    contrast: Path,
    saes: Mapping[str, SaeFiles],
    dataset: str,
    case: str,
    layer: int,
    attribute: str,
    images: str,
    template: str,
    names: Sequence[str] | None,
    tokens_read: str,
    thresholds: Mapping,
    settings: Mapping,
    seed: int,
) -> None:
    """Write rows.csv, chosen.csv and bits.npz, or the chunks of some kinds of units.

    Args:
        stores: {"val", "test": residuals of `layer`}; contrast: file of its contrasts.
        images: "full" or "balanced", which images are evaluated.
        thresholds: arguments of `threshold_grid`; settings: fields of `SetOptions`.
    """
    own = GroupedSet(index, attribute, images, seed)
    reading = {"tokens": tokens_read, "batch_images": job.batch("batch_images")}
    model = load_model(job, clip)
    splits = {}  # their order is that of the rows
    for split, store in stores.items():
        if split == "test" and own.balanced:  # the chosen sets run on all test images as well
            splits["test_full"] = StoreImages(ActivationStore(store), **reading)
        splits[split] = own.images(store, **reading)
    edited = EditedLayer(
        model,
        layer,
        own.texts(model, template, names),
        splits,
        own.groups,
        {label: Sae.load(sae.folder, job.torch_device()) for label, sae in saes.items()},
        read_records(contrast, Contrast),
        own.train,
    )
    options = SetOptions(taus=tuple(threshold_grid(**thresholds)), seed=seed, **settings)
    chunks = Chunks(job.folder / "blocks", job.identity())
    if job.part:
        mine = share(len(edited.kinds), job.part)
        evaluate_part(edited, options, chunks, mine)
        job.facts["kinds"] = [edited.kinds[k] for k in mine]
        return
    rows, chosen, bits = evaluate_layer(edited, options, chunks=chunks)
    rows.insert(0, "case", case)
    rows.insert(0, "dataset", dataset)
    job.facts |= write_output(job.folder / "rows.csv", rows)
    write_output(job.folder / "chosen.csv", chosen)
    write_bits(job.folder / "bits.npz", bits)
    job.discard_later(chunks.folder)


@dataclass(frozen=True)
class EditedLayer:
    """A model, the residuals of one layer, and the units that are set there.

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

    def evaluate(self, name: str, options: SetOptions) -> Arrays:
        """Return rows, choices and bits of one kind of units, numbered from 0, for `_join`."""
        units = {whose: self._units(whose, options) for whose in {name, NEURONS}}
        answers = {
            whose: {
                split: Answers(self.model, self.layer, self.text, images, self.groups, kind)
                for split, images in self.splits.items()
            }
            for whose, kind in units.items()
        }
        rows = SetRows(self.layer, options, answers, self.contrasts, self.train)
        chosen = evaluate_sets(rows, name)
        right = {f"right|{split}": pack(found) for split, found in rows.right().items()}
        return _columns("table", rows.table()) | _columns("chosen", chosen) | right

    def _units(self, name: str, options: SetOptions) -> Latents | Neurons:
        contrast, fill = self.contrasts[name], None
        if options.fill == "mean":
            mean = contrast.mean(options.tokens)
            fill = torch.from_numpy(mean).float().to(self.model.device)
        if name == NEURONS:
            return Neurons(contrast.n_units, fill)
        return Latents(self.saes[name], fill)


def evaluate_layer(
    layer: EditedLayer, options: SetOptions, *, chunks: Chunks | None = None, progress: bool = True
) -> tuple[pd.DataFrame, pd.DataFrame, Bits]:
    """Return rows (of SAEs' latents and the residual's coordinates), the choices, and bits.

    There is a row for each set and split; the choices are those of `choose.chosen_sets`.

    Args:
        chunks: kinds of units that `evaluate_part` or an earlier run has done.

    Columns: layer; units (name of the SAE, or "neurons"); kind (latent; neuron; neuron_matched: the
    neurons with the largest gap, as large a share of all as an SAE's set is of its latents;
    random_latent, random_neuron, random_latent_mass, random_neuron_mass); direction, contrast,
    tokens, fill; tau_low, tau_high (one row stands for all equal sets); n_units, n_all, mass (share
    of the mean token's mass); set (number within the layer), matches (the set that a random one is
    matched to, else −1), seed (of a random set, else −1); split; bits (row of `Bits.right`);
    n_images and the columns of `Scores`. Accuracies in 0…1. Each of latent, neuron and
    neuron_matched has its own empty set, the baseline, and is chosen by itself.
    """
    parts = list(_evaluated(layer, options, chunks or Chunks(), range(len(layer.kinds)), progress))
    images = {split: found.rows for split, found in layer.splits.items()}
    table, chosen, packed = _join(parts, list(images))
    group = {split: layer.groups.at(rows).group for split, rows in images.items()}
    return table, chosen, Bits(packed, images, group, layer.train)


def evaluate_part(
    layer: EditedLayer,
    options: SetOptions,
    chunks: Chunks,
    which: Iterable[int],
    *,
    progress: bool = True,
) -> None:
    """Evaluate some of `layer.kinds`, by their numbers, into `chunks`."""
    for _ in _evaluated(layer, options, chunks, which, progress):
        pass


def _evaluated(
    layer: EditedLayer, options: SetOptions, chunks: Chunks, which: Iterable[int], progress: bool
) -> Iterator[Arrays]:
    """Yield the result of `EditedLayer.evaluate` for each kind of units, by number."""
    if options.fill not in FILLS:
        raise ValueError(f"fill {options.fill!r} does not exist; write {', '.join(FILLS)}.")
    bar = tqdm(list(which), desc=f"layer {layer.layer}", unit="units", disable=not progress)
    for k in bar:
        yield chunks.get(
            f"units-{k:03d}", lambda name=layer.kinds[k]: layer.evaluate(name, options)
        )


def _columns(name: str, table: pd.DataFrame) -> Arrays:
    """Return {"<name>|<column>": values} of a table; text as text, never as objects."""
    return {
        f"{name}|{column}": values.to_numpy(
            dtype=None if pd.api.types.is_numeric_dtype(values) else str
        )
        for column, values in table.items()
    }


def _table(name: str, part: Arrays) -> pd.DataFrame:
    """Return the table that `_columns` took apart."""
    columns = (key for key in part if key.startswith(f"{name}|"))
    return pd.DataFrame({key.removeprefix(f"{name}|"): part[key] for key in columns})


def _join(
    parts: Sequence[Arrays], splits: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, np.ndarray]]:
    """Return rows, choices and packed answers of all kinds: their sets and bits numbered on."""
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
