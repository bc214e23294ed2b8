"""Training of SAEs from a stream of activations: one pass, any number of SAEs.

Steering paper §3 and App. 10. `train_on_store` and `train_saes` are the entries; `learner` is one
SAE's step, `method` what an architecture adds to it, `codes`, `encoders`, `targets` and `revival`
are its parts, `checkpoint` its state on disk.
"""

from clip_sae.planning.versions import TRAIN_VERSION
from clip_sae.training.checkpoint import TrainTarget, is_finished
from clip_sae.training.launch import StoreTokens, train_on_store
from clip_sae.training.passes import train_saes
from clip_sae.training.source import TrainingError
from clip_sae.training.weights import geometric_median

__all__ = [
    "TRAIN_VERSION",
    "StoreTokens",
    "TrainTarget",
    "TrainingError",
    "geometric_median",
    "is_finished",
    "train_on_store",
    "train_saes",
]
