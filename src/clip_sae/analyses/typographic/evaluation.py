"""Every defence on a benchmark: {none, prefix} × {none, latents, neurons, random latents}.

Steering paper Table 2. Prefixes edit text embeddings, ablations image embeddings, so each is
computed once and all combinations are products of the two.

Protocols: "all_classes" takes the argmax over all objects and words of the set (Defense-Prefix's);
"two_way" between the image's object and its word only (SCAM's). They must not be mixed.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from clip_sae.analyses.typographic.scores import SUBSETS, score_defences, subset_mask

PROTOCOLS = ("all_classes", "two_way")
NONE = "none"
# (text, image) of what every other defence is compared with: the prefix alone and the SAE alone
RIVALS = (("prefix", NONE), (NONE, "latents"))


@dataclass(frozen=True)
class Defence:
    """A text side and an image side; `name` is what the table calls their combination."""

    name: str
    text: str
    image: str


def table2_defences(images: Collection[str]) -> list[Defence]:
    """The defences of Table 2: prefix, SAE, both, and what each is compared with.

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
    """Predicted class [image] from unit embeddings [image, d_embed] and texts [class, d_embed].

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
    """Rows of Table 2 for one set: one per protocol, subset of images and defence.

    Args:
        images: unit embeddings [image, d_embed] under each image-side defence; "none" is clean.
        texts: unit class embeddings under each text-side defence.
        defences: what to combine; the first must be none × none. The interaction of a combination
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
