"""CLIP on the device equals CLIP on the CPU: up to a layer, and from a layer to the embedding."""

import torch
from measuring import Bench, convolution_tf32, relative_error
from tower_subjects import cpu_tower, device_tower, random_images, residuals, three_layers

# Precision, whether convolutions may use TF32, and the largest relative error allowed.
CASES = (("float32", True, 1e-3), ("float32", False, 1e-5), ("auto", True, 2e-2))


def run(bench: Bench) -> None:
    """Check `run_to` with both hooks and the embedding, and `run_from` three layers."""
    cpu, expected = cpu_tower(bench.tiny), residuals(bench)
    layers = three_layers(cpu)
    images = random_images(cpu, len(expected["resid_post", 0]))
    for precision, tf32, tolerance in CASES:
        model = device_tower(bench, precision)
        with convolution_tf32(tf32), torch.inference_mode():
            pixels = model.normalise(images)
            found = model.run_to(pixels, layers, ("resid_post", "mlp_out"), embedding=True)
            there = max(relative_error(found[key], expected[key]) for key in expected)
            back = 0.0
            for layer in layers:
                x = expected["resid_post", layer]
                pair = (model.run_from(x, layer), cpu.run_from(x, layer))
                back = max(back, relative_error(*pair))
        bench.report.check(
            f"run_to, run_from: {precision}, TF32 in convolutions {tf32}",
            there < tolerance and back < tolerance,
            f"{there:.1e}, {back:.1e}",
        )
