"""Defences on a benchmark: {none, prefix} × {none, latents, neurons, random latents}, and scores.

Steering paper Table 2, and the text-confusion rate of the later literature: the share of images
that are called the word that is written on them. Prefixes edit text embeddings, ablations image
embeddings, so each is computed once and all combinations are products of the two.

Protocols: "all_classes" takes the argmax over all objects and words of the set (Defense-Prefix's);
"two_way" between the image's object and its word only (SCAM's). They must not be mixed.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from clip_sae.metrics import bootstrap_means, percentile_interval

SUBSETS = ("all", "attacked", "not_attacked")
PROTOCOLS = ("all_classes", "two_way")
NONE = "none"
# (text, image) of the prefix alone and the SAE alone, with which every defence is compared
RIVALS = (("prefix", NONE), (NONE, "latents"))


@dataclass(frozen=True)
class Defence:
    """A text side and an image side; `name` stands for both in the table."""

    name: str
    text: str
    image: str


def table2_defences(images: Collection[str]) -> list[Defence]:
    """Return the defences of Table 2: prefix, SAE, both, and their baselines and controls.

    Args:
        images: names of the image sides that exist: random sets are called random_<i>, and
            without "heads" that baseline is left out.
    """
    defences = [
        Defence("none", NONE, NONE),
        Defence("dp", "prefix", NONE),
        Defence("sae", NONE, "latents"),
        Defence("dp+sae", "prefix", "latents"),
        Defence("dp on sae+sae", "prefix_on_ablated", "latents"),
        Defence("neurons", NONE, "neurons"),
        *(Defence(name, NONE, name) for name in images if name.startswith("random_")),
    ]
    if "heads" in images:
        defences += [Defence("heads", NONE, "heads"), Defence("dp+heads", "prefix", "heads")]
    return defences


def predict(embeddings: Tensor, text: Tensor, label: Tensor, word: Tensor, protocol: str) -> Tensor:
    """Return predicted classes [image] of unit embeddings [image, d_embed], [class, d_embed].

    Under "two_way" an image without a word (`word` < 0) is called its object.
    """
    scores = embeddings @ text.T.to(embeddings.device)  # [image class]
    if protocol == "all_classes":
        return scores.argmax(-1)
    if protocol != "two_way":
        raise ValueError(f"protocol {protocol!r} does not exist; write {', '.join(PROTOCOLS)}.")
    rows = torch.arange(len(scores))
    word_or_label = torch.where(word >= 0, word, label)
    return torch.where(scores[rows, word_or_label] > scores[rows, label], word_or_label, label)


def defence_rows(
    images: Mapping[str, Tensor],
    texts: Mapping[str, Tensor],
    defences: Sequence[Defence],
    label: np.ndarray,
    word: np.ndarray,
    *,
    written: np.ndarray | None = None,
    protocols: Sequence[str] = ("all_classes",),
    n_resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the rows of Table 2 for one set: one per protocol, subset of images and defence.

    Args:
        images: unit embeddings [image, d_embed] under each image-side defence; "none" is clean.
        texts: unit class embeddings under each text-side defence.
        defences: the combinations; the first must be none × none. The interaction of a combination
            is taken where both of its sides also stand alone.
        label, word: class indices [image]; word is −1 where none is known.
        written: [image] bool, where the word of a pair is not in the picture (SCAM's NoSCAM);
            None: every known word is written.

    Columns: protocol, subset (all, attacked, not_attacked; empty ones and those that equal "all"
    are left out), text, image, and those of `score_defences`.
    """
    label, word = np.asarray(label), np.asarray(word)
    in_picture = word if written is None else np.where(written, word, -1)
    named = {(defence.text, defence.image): defence.name for defence in defences}
    interactions = {
        name: (named[text, NONE], named[NONE, image])
        for (text, image), name in named.items()
        if NONE not in (text, image) and {(text, NONE), (NONE, image)} <= named.keys()
    }
    labels, words = torch.from_numpy(label), torch.from_numpy(word)
    tables = []
    for protocol in protocols:
        predictions = {
            defence.name: predict(
                images[defence.image], texts[defence.text], labels, words, protocol
            ).numpy()
            for defence in defences
        }
        for subset in SUBSETS:
            mask = subset_mask(in_picture, subset)
            if not mask.any() or (subset != "all" and mask.all()):
                continue
            rows = score_defences(
                {name: found[mask] for name, found in predictions.items()},
                label[mask],
                # Text confusion of an image without the word counts the rival of its pair.
                word[mask],
                baseline=defences[0].name,
                interactions=interactions,
                rivals=[name for (text, image), name in named.items() if (text, image) in RIVALS],
                n_resamples=n_resamples,
                seed=seed,
            )
            table = pd.DataFrame(rows)
            table.insert(0, "protocol", protocol)
            table.insert(1, "subset", subset)
            sides = {defence.name: defence for defence in defences}
            table.insert(3, "text", [sides[name].text for name in table["defence"]])
            table.insert(4, "image", [sides[name].image for name in table["defence"]])
            tables.append(table)
    return pd.concat(tables, ignore_index=True)


def subset_mask(word: np.ndarray, subset: str) -> np.ndarray:
    """Return [image] bool: all, those with a written word (`word` ≥ 0), or those without."""
    word = np.asarray(word)
    masks = {"all": np.ones(len(word), bool), "attacked": word >= 0, "not_attacked": word < 0}
    if subset not in masks:
        raise ValueError(f"subset {subset!r} does not exist; write {', '.join(SUBSETS)}.")
    return masks[subset]


def score_defences(
    predictions: Mapping[str, np.ndarray],
    label: np.ndarray,
    word: np.ndarray,
    *,
    baseline: str,
    interactions: Mapping[str, tuple[str, str]] | None = None,
    rivals: Sequence[str] = (),
    n_resamples: int = 2000,
    seed: int = 0,
) -> list[dict]:
    """Return one row per defence: accuracy, text confusion, gain over `baseline`, interaction.

    All defences see the same resampled images, so that gains and interactions are paired.

    Args:
        predictions: predicted class of each image under each defence, [image].
        label, word: true class, and class of the written word (`NO_WORD` without one), [image].
        interactions: {both: (one, other)}: gain of `both` beyond the sum of the gains of `one` and
            `other`.
        rivals: defences that each other one is compared with: gain_over_<rival>.

    Rows: defence, n_images, n_words; accuracy, text_confusion (NaN without words), gain,
    gain_confusion, interaction and gain_over_<rival> (NaN where not requested, and of the rival
    itself), all with _low and _high, 95 %.
    """
    names = list(predictions)
    label, word = np.asarray(label), np.asarray(word)
    if baseline not in predictions:
        raise ValueError(
            f"the baseline {baseline!r} is not among the defences: {', '.join(names)}."
        )
    if not len(label):
        raise ValueError("no image to score: the subset is empty.")
    right = np.stack([predictions[name] == label for name in names], axis=1).astype(float)
    fooled = np.stack([(predictions[name] == word) & (word >= 0) for name in names], axis=1)
    has_word = (word >= 0).astype(float)[:, None]
    columns = np.concatenate([right, fooled.astype(float), has_word], axis=1)
    n = len(names)
    wanted = names, n, baseline, interactions or {}, rivals
    estimates = _metrics(columns.mean(0)[None], *wanted)
    resampled = _metrics(bootstrap_means(columns, n_resamples, seed), *wanted)
    rows = []
    for name in names:
        row = {"defence": name, "n_images": len(label), "n_words": int(has_word.sum())}
        for metric, values in estimates[name].items():
            row[metric] = float(values[0])
            low, high = _interval(resampled[name][metric])
            row[f"{metric}_low"], row[f"{metric}_high"] = low, high
        rows.append(row)
    return rows


def _metrics(
    means: np.ndarray,
    names: Sequence[str],
    n: int,
    baseline: str,
    interactions: Mapping[str, tuple[str, str]],
    rivals: Sequence[str],
) -> dict[str, dict[str, np.ndarray]]:
    """Return every metric [resample] of each defence, from means [resample, column]."""
    right, fooled, share = means[:, :n], means[:, n : 2 * n], means[:, 2 * n]
    with np.errstate(invalid="ignore", divide="ignore"):
        fooled = np.where(share[:, None] > 0, fooled / share[:, None], np.nan)
    at = {name: i for i, name in enumerate(names)}
    gain = right - right[:, [at[baseline]]]
    found = {}
    for name in names:
        metrics = {
            "accuracy": right[:, at[name]],
            "text_confusion": fooled[:, at[name]],
            "gain": gain[:, at[name]],
            "gain_confusion": fooled[:, at[name]] - fooled[:, at[baseline]],
            "interaction": np.full(len(means), np.nan),
        }
        if name in interactions:
            one, other = interactions[name]
            metrics["interaction"] = gain[:, at[name]] - gain[:, at[one]] - gain[:, at[other]]
        for rival in rivals:
            over = gain[:, at[name]] - gain[:, at[rival]]
            metrics[f"gain_over_{rival}"] = np.full(len(means), np.nan) if name == rival else over
        found[name] = metrics
    return found


def _interval(draws: np.ndarray) -> tuple[float, float]:
    known = draws[np.isfinite(draws)]  # a resample may hold no attacked image
    return percentile_interval(known) if len(known) else (float("nan"), float("nan"))
