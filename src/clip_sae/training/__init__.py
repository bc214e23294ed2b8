"""Training of SAEs from a stream of activations: one pass, any number of SAEs.

Steering paper §3 and App. 10. `train_saes` is the entry; `learner` is one SAE's step, `codes`,
`encoders`, `targets` and `revival` are its parts, `checkpoint` its state on disk.
"""

from clip_sae.training.checkpoint import TrainTarget, is_finished
from clip_sae.training.passes import train_saes
from clip_sae.training.source import TrainingError
from clip_sae.training.weights import geometric_median
from clip_sae.versions import TRAIN_VERSION

__all__ = [
    "TRAIN_VERSION",
    "TrainTarget",
    "TrainingError",
    "geometric_median",
    "is_finished",
    "train_saes",
]
