"""Crossings of concepts, later blocks and text of two models: the images that each one gets right.

PatchSAE §5: an adaptation's gain splits into the concepts' share and the share of the map from
concepts to classes, which is the later blocks and the text side together. Both models read the same
pixels; from the SAE's layer on, each crossing runs alone.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clip_sae.adaptation import AdaptedClip
from clip_sae.analyses.changes.exchange import (
    CONCEPTS,
    OWN,
    RANDOM,
    RANDOM_MOVE,
    RESIDUAL,
    exchange,
)
from clip_sae.sae import Sae

FROZEN, ADAPTED = "frozen", "adapted"


@dataclass(frozen=True)
class Cell:
    """One crossing of two models.

    Attributes:
        name: in tables.
        blocks: the model whose later blocks run.
        source: the tokens that they read, see `Exchanged`.
        text: the model whose text side embeds the classes.
        title: in figures and rendered tables.
    """

    name: str
    blocks: str
    source: str
    text: str
    title: str


CELLS = (
    Cell("frozen", FROZEN, OWN, FROZEN, "frozen model"),
    Cell("adapted", ADAPTED, OWN, ADAPTED, "adapted model"),
    Cell("old_concepts_new_map", ADAPTED, CONCEPTS, ADAPTED, "old concepts, new map"),
    Cell("old_concepts_new_text", FROZEN, OWN, ADAPTED, "old concepts, new text only"),
    Cell("old_concepts_new_blocks", ADAPTED, CONCEPTS, FROZEN, "old concepts, new blocks only"),
    Cell("new_concepts_old_map", FROZEN, CONCEPTS, FROZEN, "new concepts, old map"),
    Cell("new_concepts_new_text", FROZEN, CONCEPTS, ADAPTED, "new concepts, new text only"),
    Cell("new_concepts_new_blocks", ADAPTED, OWN, FROZEN, "new concepts, new blocks only"),
    Cell("old_residual_new_map", ADAPTED, RESIDUAL, ADAPTED, "old tokens whole, new map"),
    Cell("new_residual_old_map", FROZEN, RESIDUAL, FROZEN, "new tokens whole, old map"),
    Cell("random_change_new_map", ADAPTED, RANDOM, ADAPTED, "random concepts, new map"),
    Cell("random_change_old_map", FROZEN, RANDOM, FROZEN, "random concepts, old map"),
    Cell("random_move_new_map", ADAPTED, RANDOM_MOVE, ADAPTED, "random, moved as far, new map"),
    Cell("random_move_old_map", FROZEN, RANDOM_MOVE, FROZEN, "random, moved as far, old map"),
)
BY_NAME = {cell.name: cell for cell in CELLS}


def sources(cell: Cell, random_seeds: int) -> list[str]:
    """Return the sources of a cell's tokens: one, or one per draw of a control."""
    if cell.source not in (RANDOM, RANDOM_MOVE):
        return [cell.source]
    return [f"{cell.source}{i}" for i in range(random_seeds)]


# Yields (slice of the images, normalised pixels [image, channel, height, width]) at every call.
Batches = Callable[[], Iterable[tuple[slice, Tensor]]]


@dataclass(frozen=True)
class Task:
    """Images and the classes to choose from, such as the base classes.

    Attributes:
        batches: the images.
        label: [image] index into `names`.
        names: [class], as in prompts.
    """

    batches: Batches
    label: np.ndarray
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.label)


@torch.inference_mode()
def answer_cells(
    frozen: AdaptedClip,
    adapted: AdaptedClip,
    sae: Sae,
    layer: int,
    task: Task,
    permutations: list[np.ndarray],
) -> dict[str, np.ndarray]:
    """Return {cell name: [image]}: 1 for a right answer, else 0.

    Args:
        sae: of `layer`, on the models' device.
        permutations: of the random controls, see `exchange`; the result averages their answers.
    """
    models = {FROZEN: frozen, ADAPTED: adapted}
    text = {name: model.class_embeddings(task.names) for name, model in models.items()}
    right = {cell.name: np.zeros(len(task)) for cell in CELLS}
    for which, pixels in task.batches():
        x = {name: model.run_to(pixels, [layer])[layer] for name, model in models.items()}
        tokens = exchange(sae, x[FROZEN], x[ADAPTED], permutations)
        label = torch.as_tensor(task.label[which], device=sae.W_dec.device)
        known: dict[tuple[str, str], Tensor] = {}  # embeddings that several cells share
        for cell in CELLS:
            drawn = sources(cell, len(permutations))
            side = tokens.frozen if cell.blocks == FROZEN else tokens.adapted
            for source in drawn:
                run = (cell.blocks, OWN if side[source] is side[OWN] else source)
                if run not in known:
                    known[run] = models[cell.blocks].run_from(side[source], layer)
                predicted = (known[run] @ text[cell.text].T).argmax(-1)
                answers = (predicted == label).double().cpu().numpy()
                right[cell.name][which] += answers / len(drawn)
    return right
