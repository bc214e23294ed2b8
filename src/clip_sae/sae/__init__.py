"""Sparse autoencoders on CLIP's residual stream: the module and its folder on disk.

Steering paper Eq. 3 and §3; PatchSAE §3. Training lives in clip_sae.training.
"""

from clip_sae.sae.files import SaeFileError, weights_sha256
from clip_sae.sae.module import EncodeOutput, Sae, SaeOutput

__all__ = [
    "EncodeOutput",
    "Sae",
    "SaeFileError",
    "SaeOutput",
    "weights_sha256",
]
