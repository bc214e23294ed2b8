"""TopK and BatchTopK: sparsity by choice of the largest, without a penalty.

Gao et al. 2024; Bussmann et al. 2024.
"""

from __future__ import annotations

import torch

from clip_sae.sae import Sae
from clip_sae.training.encoders import BatchTopKEncoder, Encoder, TopKEncoder
from clip_sae.training.losses import Losses, reconstruct
from clip_sae.training.method import Method
from clip_sae.training.parallel import Replicas
from clip_sae.training.targets import Target
from clip_sae.training.threshold import RunningThreshold
from clip_sae.training.weights import Weights, to_sae
from clip_sae.training.workspace import Workspace


class TopK(Method):
    """The k largest pre-activations of each token, then ReLU."""

    selects = True

    def __init__(self, k: int, workspace: Workspace) -> None:
        self.k = k
        self.encoder: Encoder = TopKEncoder(k, workspace)

    def backward(
        self,
        target: Target,
        weights: Weights,
        grads: Weights,
        *,
        pressure: float,
        count_active: bool,
    ) -> Losses:
        z = target.z - weights.b_dec
        codes = self.encoder.encode(z, weights)
        return reconstruct(target, z, codes, weights, grads, 0.0, count_active=count_active)

    def to_sae(self, weights: Weights, input_norm: str) -> Sae:
        return to_sae(weights.arrays(), "topk", input_norm, "topk", k=self.k)


class BatchTopK(Method):
    """The k x token largest of a batch; alone, a token is read with the running threshold."""

    selects = True
    trained_as = "batchtopk"

    def __init__(self, k: int, workspace: Workspace, replicas: Replicas) -> None:
        self.encoder = BatchTopKEncoder(k, workspace, replicas)
        self.threshold = RunningThreshold()

    def backward(
        self,
        target: Target,
        weights: Weights,
        grads: Weights,
        *,
        pressure: float,
        count_active: bool,
    ) -> Losses:
        z = target.z - weights.b_dec
        codes = self.encoder.encode(z, weights)
        return reconstruct(target, z, codes, weights, grads, 0.0, count_active=count_active)

    def settle(self, weights: Weights) -> None:
        self.threshold.update(self.encoder.smallest_kept)

    def state(self) -> dict[str, torch.Tensor]:
        return {"running_threshold": self.threshold.sums}

    def to_sae(self, weights: Weights, input_norm: str) -> Sae:
        threshold = torch.full_like(weights.b_enc, self.threshold.value)
        return to_sae(weights.arrays(threshold), "jumprelu", input_norm, self.trained_as)
