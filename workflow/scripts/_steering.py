"""One layer to be steered: its residuals of the chosen images, SAE, model and words."""

from pathlib import Path

import numpy as np
import torch
from _job import Job

from clip_sae.analyses.activity import measure_activity
from clip_sae.analyses.steering.routes import Routes
from clip_sae.analyses.steering.sampling import choose_images
from clip_sae.analyses.steering.units import Units, units_of
from clip_sae.architecture import ModelSource
from clip_sae.clip import load_clip
from clip_sae.datasets import read_manifest
from clip_sae.sae import Sae
from clip_sae.store import ActivationStore, to_float32
from clip_sae.vocabulary import EmbeddedVocabulary


class SteeredLayer:
    """What `measure_steering` and `measure_traces` have in common, from a job's arguments."""

    def __init__(self, job: Job) -> None:
        arguments, device = job.arguments, job.torch_device()
        self.arguments = arguments
        block = arguments["model"]
        source = ModelSource(block["model"], block["pretrained"])
        self.model = load_clip(source, device=device, precision=block["precision"])
        self.vocabulary = EmbeddedVocabulary.load(Path(arguments["vocabulary"]))
        self.store = ActivationStore(Path(arguments["store"]))
        self.sae = Sae.load(Path(arguments["sae"]), device)
        manifest = read_manifest(Path(arguments["index"]))
        rows = choose_images(
            manifest,
            self.store.source_index,
            arguments["images"],
            sampling=arguments["sampling"],
            seed=arguments["seed"],
        )
        images = [to_float32(self.store.read(int(row), int(row) + 1)) for row in rows]
        self.x = torch.from_numpy(np.concatenate(images)).to(device)  # [image token d_model]

    @torch.inference_mode()
    def units(self, kind: str, n: int | None = None) -> Units:
        """The units of a kind; alive are latents that fire on the split that is steered."""
        return units_of(
            kind,
            self.x,
            self.sae,
            lambda sae: measure_activity(self.store, sae).fired()[0] > 0,
            error=self.arguments["error"],
            n=n,
            seed=self.arguments["seed"],
        )

    @torch.inference_mode()
    def routes(self, units: Units, sequences_per_batch: int) -> Routes:
        """From pushes of `units` to the words."""
        return Routes(
            self.model,
            self.arguments["layer"],
            units.x,
            torch.from_numpy(self.vocabulary.text),
            self.vocabulary.logit_scale,
            sequences_per_batch=sequences_per_batch,
        )
