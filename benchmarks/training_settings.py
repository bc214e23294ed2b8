"""Settings, synthetic tokens and common weights for training.py and sweep.py."""

from dataclasses import dataclass

import numpy as np

D_MODEL = 768
SPARSIFY, SAELENS, UNSCALED, DICTIONARY_LEARNING = (
    "sparsify",
    "SAELens",
    "SAELens, no rescaling",
    "dictionary_learning",
)
PEERS = {
    "topk": (SPARSIFY, SAELENS, UNSCALED, DICTIONARY_LEARNING),
    "vanilla": (SAELENS, DICTIONARY_LEARNING),
    "batchtopk": (SAELENS, DICTIONARY_LEARNING),
    "jumprelu": (SAELENS, DICTIONARY_LEARNING),
    "gated": (SAELENS, DICTIONARY_LEARNING),
    "matryoshka": (SAELENS, DICTIONARY_LEARNING),
}


@dataclass(frozen=True)
class Setting:
    """One table: an architecture and its sizes; the peers take `l1` in the same units as ours.

    `active`: share of latents that are positive at the start, where no top-k chooses: a half with
    fresh weights, a hundredth in an SAE that has learnt its sparsity.
    """

    architecture: str
    n: int
    k: int = 32
    l1: float = 1.0
    active: float = 0.5

    @property
    def name(self) -> str:
        late = "-late" if self.active < 0.5 else ""
        return f"{self.architecture}-{self.n}{late}"


SETTINGS = [
    Setting("topk", 8192, 32),
    Setting("topk", 49152, 64),
    Setting("batchtopk", 8192),
    Setting("matryoshka", 8192),
    *(
        Setting(name, 8192, active=active)
        for name in ("vanilla", "jumprelu", "gated")
        for active in (0.5, 0.01)
    ),
]
CHOOSING = ("topk", "batchtopk", "matryoshka")  # a top-k makes the codes sparse from the start


def make_tokens(batch: int, batches: int, seed: int = 0) -> np.ndarray:
    """Return float32 tokens with a planted dictionary: 24 of 4,096 directions each, and noise.

    The directions are the same for every seed. The variance is 1 per dimension on average, as
    after a layer norm.
    """
    directions = np.random.default_rng(0).standard_normal((4096, D_MODEL), dtype=np.float32)
    rng = np.random.default_rng((1, seed))
    parts = []
    for _ in range(batches):
        chosen = rng.integers(len(directions), size=(batch, 24))
        sizes = rng.exponential(size=chosen.shape).astype(np.float32)
        codes = np.zeros((batch, len(directions)), np.float32)
        np.put_along_axis(codes, chosen, sizes, axis=1)
        x = codes @ directions
        parts.append(x + 0.5 * rng.standard_normal(x.shape, dtype=np.float32))
    tokens = np.concatenate(parts)
    return tokens / tokens.std(axis=0).mean()


def make_start(setting: Setting, tokens: np.ndarray) -> dict[str, np.ndarray]:
    """Return the weights from which all begin: random unit decoder rows, a multiple as encoder.

    Where a ReLU lets half of the latents through, that multiple makes x̂ about x.
    """
    W_dec = np.random.default_rng(1).standard_normal((setting.n, D_MODEL), dtype=np.float32)
    W_dec /= np.linalg.norm(W_dec, axis=1, keepdims=True)
    b_dec = tokens.mean(axis=0)
    scale = 1.0 if setting.architecture in CHOOSING else 2 * D_MODEL / setting.n
    bias = 0.0
    if setting.active < 0.5:
        pre_acts = (tokens[:256] - b_dec) @ W_dec.T * scale
        bias = -np.quantile(pre_acts, 1 - setting.active)
    scale, bias = np.float32(scale), np.float32(bias)
    return {"W_dec": W_dec, "b_dec": b_dec, "encoder_scale": scale, "encoder_bias": bias}
