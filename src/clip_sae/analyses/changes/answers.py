"""Which images each crossing of two models answers rightly, in one pass over the images.

PatchSAE §5. Both models read the same pixels; from the SAE's layer on, each crossing runs alone.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clip_sae.adaptation import AdaptedClip
from clip_sae.analyses.changes.cells import ADAPTED, CELLS, FROZEN, sources
from clip_sae.analyses.changes.exchange import OWN, exchange
from clip_sae.sae import Sae

# Yields (which images, normalised pixels [image, channel, height, width]); may be called again.
Batches = Callable[[], Iterable[tuple[slice, Tensor]]]


@dataclass(frozen=True)
class Task:
    """Images and the classes that they are told apart from, e.g. those of the base classes.

    Attributes:
        batches: the images.
        label: [image] index into `names`.
        names: [class] as in prompts.
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
    """Return {cell name: [image]}: 1 where the answer is right, else 0.

    Args:
        sae: of `layer`, on the models' device.
        permutations: of the random controls, see `exchange`; their answers are averaged.
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
            for source in sources(cell, len(permutations)):
                side = tokens.frozen if cell.blocks == FROZEN else tokens.adapted
                run = (cell.blocks, OWN if side[source] is side[OWN] else source)
                if run not in known:
                    known[run] = models[cell.blocks].run_from(side[source], layer)
                predicted = (known[run] @ text[cell.text].T).argmax(-1)
                n = len(sources(cell, len(permutations)))
                right[cell.name][which] += (predicted == label).double().cpu().numpy() / n
    return right
