"""SAEs to and from the real SAELens: its encode and decode against ours, in three steps.

    make check-saelens        (builds .venv-saelens, which only this check uses)

`write` saves one SAE of each kind with ours; `theirs`, run where sae_lens is installed, loads each
with SAELens and compares, then saves SAEs of its own with their outputs; `ours` converts those and
compares. SAELens and this project pin different packages, so they never share a process.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

D_MODEL, D_SAE, K, TOKENS = 768, 6144, 32, 256
TOLERANCE = 1e-5  # relative; float32 sums of d_model terms in another order differ by about 1e-6
FLIPS = 10  # of 1.6 million latents: about one lies within 1e-6 of its threshold

# architecture, how it was trained, k, input_norm
OURS = {
    "vanilla": ("vanilla", "standard", None, "none"),
    "vanilla_layer_norm": ("vanilla", "standard", None, "layer_norm"),
    "vanilla_constant_norm": ("vanilla", "standard", None, "constant_norm_rescale"),
    "topk": ("topk", "topk", K, "none"),
    "topk_layer_norm": ("topk", "topk", K, "layer_norm"),
    "jumprelu": ("jumprelu", "jumprelu", None, "layer_norm"),
    "batchtopk": ("jumprelu", "batchtopk", None, "none"),
    "matryoshka": ("jumprelu", "matryoshka_batchtopk", None, "layer_norm"),
    "gated": ("jumprelu", "gated", None, "none"),
}
# SAELens' architecture and the options of its config
THEIRS = {
    "standard": ("standard", {}),
    "standard_uncentred": ("standard", {"apply_b_dec_to_input": False}),
    "standard_constant_norm": ("standard", {"normalize_activations": "constant_norm_rescale"}),
    "topk_rescaled": ("topk", {"k": K, "rescale_acts_by_decoder_norm": True}),
    "jumprelu": ("jumprelu", {"normalize_activations": "layer_norm"}),
    "gated": ("gated", {}),
    "gated_uncentred": (
        "gated",
        {"apply_b_dec_to_input": False, "normalize_activations": "layer_norm"},
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=("write", "theirs", "ours"))
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    {"write": write, "theirs": theirs, "ours": ours}[options.step](options.folder)


def random_(tensors: dict[str, torch.Tensor], seed: int, row_norms: tuple[float, float]) -> None:
    """Fill in place with values at which about half of the latents fire."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in tensors.items():
        tensor.copy_(torch.randn(tensor.shape, generator=generator))
        if name == "W_enc":
            tensor /= D_MODEL**0.5
        if name == "threshold":
            tensor.abs_()
        if name == "W_dec":
            low, high = row_norms
            norms = low + (high - low) * torch.rand(len(tensor), 1, generator=generator)
            tensor *= norms / tensor.norm(dim=1, keepdim=True)


def tokens() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return 3 * torch.randn(TOKENS, D_MODEL, generator=generator) + 0.5


def compare(
    where: str,
    name: str,
    latents: torch.Tensor,
    x_hat: torch.Tensor,
    expected: dict[str, torch.Tensor],
) -> None:
    """Print the largest differences relative to the largest values; stop where they are too big.

    A pre-activation within rounding of a threshold may fall on either side. Such latents are
    counted, and their tokens left out of the comparison.
    """
    flipped = (latents > 0) != (expected["latents"] > 0)
    same = ~flipped.any(dim=1)
    found = [
        ((a - b)[same].abs().max() / b.abs().max()).item()
        for a, b in ((latents, expected["latents"]), (x_hat, expected["x_hat"]))
    ]
    l0, flips = (latents > 0).sum(1).double().mean().item(), int(flipped.sum())
    print(
        f"{where:8} {name:24} latents {found[0]:.1e}  x_hat {found[1]:.1e}  L0 {l0:7.1f}  "
        f"flipped {flips} of {flipped.numel()}"
    )
    if not max(found) < TOLERANCE or flips > FLIPS:
        raise SystemExit(f"{name}: outputs differ (allowed: {TOLERANCE:g}, {FLIPS} flips)")


@torch.no_grad()
def write(folder: Path) -> None:
    from clip_sae.sae import Sae

    for seed, (name, (architecture, trained, k, norm)) in enumerate(OURS.items()):
        sae = Sae(D_MODEL, D_SAE, architecture, k=k, input_norm=norm)
        random_(dict(sae.named_parameters()), seed, (1, 1))
        sae.save(folder / "ours" / name, {}, training_architecture=trained)
        out = sae(tokens())
        save_file(out._asdict(), folder / "ours" / f"{name}.safetensors")


@torch.no_grad()
def theirs(folder: Path) -> None:
    import sae_lens
    from sae_lens import SAE
    from sae_lens.registry import get_sae_class

    print(f"SAELens {sae_lens.__version__}, torch {torch.__version__}")
    for name, (_, trained, _, _) in OURS.items():
        sae = SAE.load_from_disk(folder / "ours" / name)
        expected = load_file(folder / "ours" / f"{name}.safetensors")
        latents = sae.encode(tokens())
        x_hat = sae.decode(latents)
        compare("SAELens", name, latents, x_hat, expected)
        assert sae.cfg.metadata.training_architecture == trained
    for seed, (name, (architecture, settings)) in enumerate(THEIRS.items()):
        sae_class, config_class = get_sae_class(architecture)
        config = config_class(d_in=D_MODEL, d_sae=D_SAE, dtype="float32", device="cpu", **settings)
        sae = sae_class(config)
        random_({key: value.data for key, value in sae.named_parameters()}, seed, (0.3, 3))
        if architecture == "gated":
            sae.r_mag.data *= 0.3
        sae.save_model(folder / "theirs" / name)
        latents = sae.encode(tokens())
        x_hat = sae.decode(latents)
        # In units of unit rows, the convention of the converted SAE.
        if not settings.get("rescale_acts_by_decoder_norm"):
            latents = latents * sae.W_dec.norm(dim=1)
        saved = {"latents": latents.contiguous(), "x_hat": x_hat.contiguous()}
        save_file(saved, folder / "theirs" / f"{name}.safetensors")


@torch.no_grad()
def ours(folder: Path) -> None:
    from clip_sae.sae.exchange import convert

    for name in THEIRS:
        done = convert(folder / "theirs" / name, folder / "converted" / name, format="saelens")
        expected = load_file(folder / "theirs" / f"{name}.safetensors")
        out = done.sae(tokens())
        compare("clip_sae", name, out.latents, out.x_hat, expected)
        facts = json.loads((folder / "converted" / name / "cfg.json").read_text())["metadata"]
        assert facts["clip_sae"]["converted_from"] == "saelens"
    print("All outputs agree in both directions.")


if __name__ == "__main__":
    main()
