"""One layer to be steered: its residuals of the chosen images, SAE, model and words."""

from collections.abc import Mapping

import numpy as np
import torch

from clip_sae.analyses.shared.activity import measure_activity
from clip_sae.analyses.shared.models import load_model
from clip_sae.analyses.steering.routes import Routes
from clip_sae.analyses.steering.sampling import choose_images
from clip_sae.analyses.steering.units import Units, units_of
from clip_sae.clip.vocabulary import EmbeddedVocabulary
from clip_sae.datasets.manifest import read_manifest
from clip_sae.sae import Sae
from clip_sae.store import ActivationStore, to_float32


class SteeredLayer:
    """All that `measure_steering` and `measure_traces` need of a layer.

    Args:
        files: clip, index, store, sae and vocabulary, as a step reads them.
        images: number of images; sampling: how they are chosen (`choose_images`).
        error: "keep" or "drop" what the SAE does not reconstruct.
        seed: of the images, and of the units that are drawn.

    Attributes:
        layer: its number; label: the SAE's name in tables.
        x: residuals [image token d_model], float32.
    """

    def __init__(
        self, job, files: Mapping, *, images: int, sampling: str, error: str, seed: int
    ) -> None:
        device, sae, clip = job.torch_device(), files["sae"], files["clip"]
        self.layer, self.label, self.error, self.seed = sae.layer, sae.label, error, seed
        self.model = load_model(job, clip, clip.precision)
        self.vocabulary = EmbeddedVocabulary.load(files["vocabulary"])
        self.store = ActivationStore(files["store"])
        self.sae = Sae.load(sae.folder, device)
        manifest = read_manifest(files["index"])
        rows = choose_images(
            manifest, self.store.source_index, images, sampling=sampling, seed=seed
        )
        residuals = [to_float32(self.store.read(int(row), int(row) + 1)) for row in rows]
        self.x = torch.from_numpy(np.concatenate(residuals)).to(device)

    @torch.inference_mode()
    def units(self, kind: str, n: int | None = None) -> Units:
        """The units of a kind; alive are latents that fire on the split that is steered."""
        return units_of(
            kind,
            self.x,
            self.sae,
            lambda sae: measure_activity(self.store, sae).fired()[0] > 0,
            error=self.error,
            n=n,
            seed=self.seed,
        )

    @torch.inference_mode()
    def routes(self, units: Units, sequences_per_batch: int) -> Routes:
        """From pushes of `units` to the words; a sequence is one unit on one image."""
        return Routes(
            self.model,
            self.layer,
            units.x,
            torch.from_numpy(self.vocabulary.text),
            self.vocabulary.logit_scale,
            sequences_per_batch=sequences_per_batch,
        )

    def label_of(self, kind: str) -> str:
        """Name of the units of a kind in tables."""
        return {"latent": self.label, "random_sae": f"{self.label} untrained"}.get(kind, kind)
