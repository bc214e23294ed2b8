"""Suppression from layer 0 in three precisions, and how many answers a lower precision changes."""

import numpy as np
import torch
from measuring import Bench, matmul_precision
from tower_subjects import device_tower, random_sae, unit_texts

from clip_sae.analyses.shared.units import Latents

# Label, precision of the tower, precision of float32 products.
CASES = (
    ("float32", "float32", "highest"),
    ("tf32", "float32", "high"),
    ("bfloat16", "bfloat16", "highest"),
)
SETS = (0, 10, 100, 1000)  # latents taken out


def run(bench: Bench) -> None:
    """Measure encoding and four nested sets; the answers of float32 are the reference."""
    embeddings = {label: precision_case(bench, label, *case) for label, *case in CASES}
    text = unit_texts(2, embeddings["float32"].shape[-1]).to(bench.device)
    answers = {label: (found @ text.T).argmax(-1) for label, found in embeddings.items()}
    for label in ("tf32", "bfloat16"):
        different = (answers[label] != answers["float32"]).float().mean()
        bench.report.row("precision", f"answers of {label} unlike float32", share=different)


def precision_case(bench: Bench, label: str, precision: str, products: str) -> torch.Tensor:
    """Measure one precision; return the embeddings [set, image, d_embed]."""
    batch, n_latents = (8, 2048) if bench.tiny else (256, 49152)
    model = device_tower(bench, precision)
    sizes = model.architecture
    units = Latents(random_sae(sizes.d_model, n_latents, 64, bench.device))
    order = np.random.default_rng(0).permutation(n_latents)[: max(SETS)]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, sizes.n_tokens, sizes.d_model, generator=generator).to(bench.device)
    with matmul_precision(products), torch.inference_mode():
        took = bench.milliseconds(lambda: units.on(x), 3, 1)
        bench.report.row("suppression", f"{label}: encode {batch} images", ms=took)
        encoded = units.on(x)

        def run_sets() -> list[torch.Tensor]:
            return [model.run_from(edited, 0) for edited in encoded.nested(order, SETS)]

        took = bench.milliseconds(run_sets, 3, 1)
        rate = len(SETS) * batch / took * 1e3
        bench.report.row("suppression", f"{label}: 4 sets from layer 0", image_sets_per_s=rate)
        return torch.stack(run_sets()).float()
