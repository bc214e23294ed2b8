"""Reconstruction of a layer by SAEs: variance, direction, and the model's zero-shot answer.

Steering paper, every column of Table 3 (mlp_out, vanilla) and Table 4 (resid_post, TopK), for all
tokens, CLS only and patches only, with the forms of the paper's own code under their own names.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from clip_sae.analyses.shared.activity import check_width
from clip_sae.analyses.shared.firing import firing_summary
from clip_sae.analyses.shared.image_metrics import IMAGE_COLUMNS, ImageMetrics, TokenBatch
from clip_sae.analyses.shared.models import class_names, load_model
from clip_sae.analyses.shared.substitution import Readout, Substitution, standard_readouts
from clip_sae.clip.model import ClipModel
from clip_sae.datasets.manifest import read_manifest
from clip_sae.metrics import ReconstructionSums
from clip_sae.planning.inputs import ClipFiles, SaeFiles
from clip_sae.sae import Sae
from clip_sae.store import ActivationStore, to_float32

SUBSETS = {"all": slice(None), "cls": slice(0, 1), "patch": slice(1, None)}


def measure_saes(
    job,
    *,
    clip: ClipFiles,
    index: Path,
    stores: Mapping[str, Path],
    saes: Sequence[SaeFiles],
    templates: str | Sequence[str],
    resamples: int,
    seed: int,
    n_readouts: int | None = None,
    subsets: Sequence[str] = (*SUBSETS,),
) -> pd.DataFrame:
    """Return the rows of `reconstruction_table` of one recipe's SAEs at one layer, by variant.

    Args:
        stores: by hook, as `Plan.stores_of` declares them.
        n_readouts: the first so many of the standard readouts; None for all.
    """
    model, hook = load_model(job, clip), saes[0].hook
    opened = {name: ActivationStore(path) for name, path in stores.items()}
    return reconstruction_table(
        {sae.variant: Sae.load(sae.folder) for sae in sorted(saes, key=lambda s: s.variant)},
        model,
        opened["resid_post"],
        read_manifest(index)["label_idx"].to_numpy(),
        standard_readouts(model, class_names(index), templates)[:n_readouts],
        layer=saes[0].layer,
        hook=hook,
        hook_store=None if hook == "resid_post" else opened[hook],
        subsets=subsets,
        n_resamples=resamples,
        seed=seed,
    )


def reconstruction_table(
    saes: Mapping[str, Sae],
    model: ClipModel,
    resid_store: ActivationStore,
    labels: np.ndarray,
    readouts: Sequence[Readout],
    *,
    layer: int,
    hook: str = "resid_post",
    hook_store: ActivationStore | None = None,
    subsets: Sequence[str] = (*SUBSETS,),
    batch_images: int = 32,
    n_resamples: int = 2000,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Return a row per SAE and token subset; all SAEs of a layer and hook share the clean passes.

    `resid_store`: evaluation images at resid_post of `layer`; `hook_store`: the same images at
    `hook` if that is not resid_post. `labels`: class index of each manifest row, `[row]`, read
    through `source_index`. A subset's columns see its tokens only, and only they are replaced.
    The SAEs are moved to the model's device.

    Columns: layer, hook, sae, token_subset, n_images, n_tokens, d_sae; explained_variance,
    explained_variance_prisma, explained_variance_uncentred, cosine_similarity,
    cosine_similarity_prisma, embedding_cosine; l0 (per token), cls_l0 (NaN for "patch"),
    l0_per_image (sum over tokens), distinct_latents_per_image, and any other of
    `image_metrics.IMAGE_COLUMNS`; dead_latents, alive_latents,
    dense_latents; for each readout ce, recon_ce, zero_ce (every token zeroed, whatever the subset),
    zero_subset_ce (only the subset's), ce_recovered, ce_recovered_subset (from zero_subset_ce; NaN
    where zeroing those tokens changes nothing), accuracy, recon_accuracy. explained_variance,
    l0, embedding_cosine, ce, recon_ce and ce_recovered carry _low and _high: 95 % bootstrap over
    images. Cross-entropies in nats, shares in 0…1.
    """
    images = _Images(resid_store, hook_store, hook, labels)
    unknown = sorted(set(subsets) - set(SUBSETS))
    if unknown:
        raise ValueError(f"token subset {unknown[0]!r} does not exist; write {', '.join(SUBSETS)}")
    for sae in saes.values():
        check_width(images.store, sae)
    saes = {name: sae.to(model.device) for name, sae in saes.items()}
    centres = images.mean_tokens(batch_images)
    runs = {
        (name, subset): _Run(centres[subset], sae.W_dec.shape[0])
        for name, sae in saes.items()
        for subset in subsets
    }
    substitution = Substitution(model, layer, hook, readouts)
    starts = range(0, images.n_images, batch_images)
    for start in tqdm(starts, desc="reconstruction", unit="batch", disable=not progress):
        batch = images.read(start, start + batch_images, model.device)
        _measure(batch, saes, substitution, subsets, runs)
    suffixes = [readout.suffix for readout in readouts]
    rows = [
        {"layer": layer, "hook": hook, "sae": name, "token_subset": subset}
        | run.row(suffixes, n_resamples, seed)
        for (name, subset), run in runs.items()
    ]
    return pd.DataFrame(rows)


@torch.inference_mode()
def _measure(batch, saes, substitution: Substitution, subsets, runs: dict) -> None:
    """Add one batch (resid_post, hook tensor, labels) to every run."""
    resid_post, x, labels = batch
    baseline = substitution.baseline(resid_post, x, labels, subsets)
    for name, sae in saes.items():
        encoded = sae.encode(x)
        x_hat = sae.decode(encoded.latents, encoded.mean, encoded.std)
        active = encoded.latents > 0  # [image token d_sae]
        for subset in subsets:
            own = substitution.reconstructed(
                baseline.embedding, resid_post, x, x_hat, labels, subset
            )
            tokens = SUBSETS[subset]
            parts = (part[:, tokens] for part in (x, x_hat, encoded.latents, active))
            runs[name, subset].add(TokenBatch(subset, *parts), baseline.columns[subset] | own)


class _Images:
    """The evaluation images in store order: resid_post, hook tensor and label of each."""

    def __init__(self, resid_store, hook_store, hook: str, labels):
        if (hook == "resid_post") != (hook_store is None):
            raise ValueError(
                f"hook {hook!r} with hook_store {'absent' if hook_store is None else 'given'}: "
                "pass hook_store for every hook but resid_post, and none for resid_post"
            )
        self.resid_store, self.n_images = resid_store, resid_store.n_images
        self.store = resid_store if hook_store is None else hook_store
        rows = np.asarray(resid_store.source_index)
        if not np.array_equal(rows, np.asarray(self.store.source_index)):
            raise ValueError(
                f"{resid_store.path} and {self.store.path} hold different images or another order; "
                "extract both hooks from the same data set and split"
            )
        labels = np.asarray(labels)
        if rows.max() >= len(labels):
            raise ValueError(
                f"{resid_store.path} refers to manifest row {rows.max()}, but there are "
                f"{len(labels)} labels; pass the labels of the manifest it was extracted from"
            )
        self.labels = labels[rows].astype(np.int64)  # [image]

    def read(self, start: int, stop: int, device) -> tuple[Tensor, Tensor, Tensor]:
        """Return resid_post and hook tensor `[image, token, d_model]`, labels `[image]`."""
        stop = min(stop, self.n_images)
        resid_post = self._tensor(self.resid_store, start, stop, device)
        same = self.store is self.resid_store
        x = resid_post if same else self._tensor(self.store, start, stop, device)
        return resid_post, x, torch.from_numpy(self.labels[start:stop]).to(device)

    @staticmethod
    def _tensor(store, start: int, stop: int, device) -> Tensor:
        return torch.from_numpy(to_float32(store.read(start, stop))).to(device)

    def mean_tokens(self, batch_images: int) -> dict[str, np.ndarray]:
        """Return the mean token `[d_model]` of each subset; one pass, sums in float64."""
        n_patches = self.store.n_tokens - 1
        total = np.zeros((2, self.store.d_model))  # CLS, patches
        for start in range(0, self.n_images, batch_images):
            x = to_float32(self.store.read(start, min(start + batch_images, self.n_images)))
            total[0] += x[:, 0].sum(0, dtype=np.float64)
            total[1] += x[:, 1:].sum((0, 1), dtype=np.float64)
        return {
            "all": total.sum(0) / (self.n_images * (1 + n_patches)),
            "cls": total[0] / self.n_images,
            "patch": total[1] / (self.n_images * n_patches),
        }


class _Run:
    """All measurements of one SAE on one token subset."""

    def __init__(self, centre: np.ndarray, d_sae: int):
        self.sums = ReconstructionSums(centre)
        self.fired = np.zeros(d_sae, dtype=np.int64)
        self.images = ImageMetrics()

    def add(self, tokens: TokenBatch, columns: dict[str, Tensor]) -> None:
        errors = self.sums.update(tokens.x.cpu().numpy(), tokens.x_hat.cpu().numpy())
        self.fired += tokens.active.sum((0, 1)).cpu().numpy()
        self.images.add(
            squared_error=errors.squared_error.sum(1),
            squared_deviation=errors.squared_deviation.sum(1),
            **{name: column(tokens) for name, column in IMAGE_COLUMNS.items()},
            **columns,
        )

    def row(self, suffixes: Sequence[str], n_resamples: int, seed: int) -> dict[str, float]:
        """Return the columns of this SAE and subset."""
        sums = self.sums
        row = {"n_images": self.images.n_images, "n_tokens": sums.n_tokens}
        row |= firing_summary(self.fired, sums.n_tokens)
        row |= {
            "explained_variance": sums.explained_variance,
            "explained_variance_prisma": sums.explained_variance_prisma,
            "explained_variance_uncentred": sums.explained_variance_uncentred,
            "cosine_similarity": sums.cosine_similarity,
            "cosine_similarity_prisma": sums.cosine_similarity_prisma,
        }
        # The summary's own explained_variance is the same ratio from per-image sums.
        summary = self.images.summary(suffixes, n_resamples, seed)
        return row | {name: value for name, value in summary.items() if name not in row}
