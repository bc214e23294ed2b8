"""Steering, suppression, top images and activity on the device equal those on the CPU."""

import numpy as np
import torch
from measuring import Bench
from tower_subjects import (
    LATENTS,
    cpu_tower,
    device_tower,
    extracted,
    random_sae,
    residuals,
    three_layers,
    unit_texts,
)

from clip_sae.analyses.shared.activity import measure_activity
from clip_sae.analyses.shared.groups import Groups
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.shared.top_images import measure_top_images
from clip_sae.analyses.shared.unit_sets import threshold_family, threshold_grid
from clip_sae.analyses.shared.units import Latents, Neurons
from clip_sae.analyses.steering.layer_summary import Thresholds
from clip_sae.analyses.steering.layer_tables import LayerRun, SteeringSettings
from clip_sae.analyses.steering.routes import Routes
from clip_sae.analyses.steering.steered_units import KINDS, units_of
from clip_sae.analyses.suppression.measure_contrast import measure_contrasts
from clip_sae.analyses.suppression.set_answers import Answers
from clip_sae.clip.model import ClipModel
from clip_sae.sae import Sae
from clip_sae.store import ActivationStore

WORDS, K = 40, 16
STRENGTHS = (0.0, 25.0, 150.0)
COLUMNS = ["steerability", "d_f", "push", "asymptote_cosine"]


def run(bench: Bench) -> None:
    """Check each analysis, first on the device, then on the CPU."""
    cpu, device = cpu_tower(bench.tiny), device_tower(bench, "float32")
    steering(bench, cpu, device)
    suppression(bench, cpu, device)


def steering(bench: Bench, cpu: ClipModel, device: ClipModel) -> None:
    """Compare the tables of every kind of unit at a middle and at the last layer."""
    tokens = residuals(bench)
    for kind in KINDS:
        for layer in three_layers(cpu)[1:]:
            x = tokens["resid_post", layer][:4].clone()
            found, expected = (steering_table(m, x, layer, kind) for m in (device, cpu))
            error = np.nanmax(np.abs(found - expected) / (1e-2 + np.abs(expected)))
            bench.report.check(f"steering {kind}, layer {layer}", error < 2e-2, f"{error:.1e}")


def steering_table(model: ClipModel, x: torch.Tensor, layer: int, kind: str) -> np.ndarray:
    """Return COLUMNS [row, column] of 8 units on images x [image, token, d_model]."""
    x = x.to(model.device)
    text = unit_texts(WORDS, model.architecture.d_embed)
    with torch.inference_mode():
        units = units_of(kind, x, sae_of(model), all_alive, n=8, seed=0)
        routes = Routes(model, layer, units.x, text, 100.0, sequences_per_batch=16)
    settings = SteeringSettings(150.0, STRENGTHS, Thresholds(0.1, (0.5,)), 4, resamples=50)
    words = [f"w{i}" for i in range(WORDS)]
    tables = LayerRun(units, routes, words, settings, units_per_batch=4, progress=False).tables()
    return tables.units[COLUMNS].to_numpy(float)


def sae_of(model: ClipModel) -> Sae:
    """Return the same random SAE on the model's device."""
    return random_sae(model.architecture.d_model, LATENTS, K, model.device)


def all_alive(sae: Sae) -> np.ndarray:
    """Treat every latent as alive, since these SAEs are untrained."""
    return np.ones(sae.d_sae, dtype=bool)


def suppression(bench: Bench, cpu: ClipModel, device: ClipModel) -> None:
    """Compare gaps, top images and L0 to rounding; answers may flip on few images at a near-tie."""
    stores = extracted(bench, cpu, "store-cpu")
    layer = three_layers(cpu)[1]
    found, expected = (
        suppression_results(model, stores["resid_post", layer], layer) for model in (device, cpu)
    )
    different = np.mean(found.pop("answers") != expected.pop("answers"))
    bench.report.check("suppression: answers", different < 0.02, f"{different:.1%} differ")
    for name in expected:
        bench.compare(f"suppression: {name}", found[name], expected[name], 1e-3)


def suppression_results(model: ClipModel, store: ActivationStore, layer: int) -> dict:
    """Return the gap of each latent, answers [set, image], top values [latent, place], and L0."""
    images = StoreImages(store, batch_images=5)
    rows = np.arange(len(images))
    groups = Groups(rows % 2, rows // 2 % 2)
    sae = sae_of(model)
    units = {"latent": Latents(sae), "neurons": Neurons(model.architecture.d_model)}
    contrasts = measure_contrasts(images, groups, units, device=model.device, progress=False)
    gap = contrasts["latent"].gap()
    family = threshold_family(gap, threshold_grid(1e-4, 1.0, 6), "both")
    text = unit_texts(2, model.architecture.d_embed)
    answers = Answers(model, layer, text, images, groups, units["latent"])
    answers.run([family])
    top = measure_top_images(images, units, 4, device=model.device, progress=False)
    return {
        "gap": gap,
        "answers": np.stack([answers.of(family.units(i)) for i in range(len(family))]),
        "top images": np.nan_to_num(top["latent"]["mean"].value, neginf=0.0),
        "L0": measure_activity(store, sae, progress=False).l0,
    }
