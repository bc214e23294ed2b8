"""Checkpoints of other projects, written as they write them, each with its formula in NumPy.

A formula maps one token [d_model] to (strengths [latent], x_hat [d_model]); a strength is the
length of the latent's share in z_hat, |f_j w_j|, which no rescaling of rows changes.
"""

import json
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

D_MODEL, D_SAE, K = 6, 20, 4


@dataclass
class Peer:
    """A checkpoint, the formula that it should compute, and the options of its conversion."""

    source: Path
    formula: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    options: dict = field(default_factory=dict)


class Draw:
    """Random arrays that agree in shape; rows of W_dec have unit norm unless `free`."""

    def __init__(self, seed: int, free: bool = False):
        rng = np.random.default_rng(seed)
        self.rng = rng
        self.W_enc = rng.normal(size=(D_MODEL, D_SAE)).astype("f4")
        self.W_dec = rng.normal(size=(D_SAE, D_MODEL)).astype("f4")
        self.W_dec /= np.linalg.norm(self.W_dec, axis=1, keepdims=True)
        if free:
            self.W_dec *= rng.uniform(0.3, 3, size=(D_SAE, 1)).astype("f4")
        self.b_enc = 0.3 * self.vector(D_SAE)
        self.b_dec = self.vector(D_MODEL)
        self.threshold = np.abs(self.vector(D_SAE))

    def vector(self, size: int) -> np.ndarray:
        return self.rng.normal(size=size).astype("f4")

    def tensors(self, *names: str) -> dict[str, torch.Tensor]:
        return {name: torch.from_numpy(getattr(self, name).copy()) for name in names}


BASIC = ("W_enc", "b_enc", "W_dec", "b_dec")


def relu(x):
    return np.maximum(x, 0)


def largest(pre, k=K):
    """The k largest and then ReLU."""
    kept = np.zeros_like(pre)
    chosen = np.argsort(-pre)[:k]
    kept[chosen] = relu(pre[chosen])
    return kept


def layer_norm(x):
    mean, std = x.mean(), x.std(ddof=1)
    return (x - mean) / (std + 1e-5), lambda z: z * std + mean


def root_norm(x):
    scale = np.sqrt(D_MODEL) / np.linalg.norm(x)
    return x * scale, lambda z: z / scale


def no_norm(x):
    return x, lambda z: z


def plain(draw, act, norm=no_norm, centred=True):
    """The formula that most projects share."""

    def formula(x):
        z, undo = norm(x.astype("f8"))
        pre = (z - draw.b_dec if centred else z) @ draw.W_enc.astype("f8") + draw.b_enc
        f = act(pre)
        return f * np.linalg.norm(draw.W_dec, axis=1), undo(f @ draw.W_dec + draw.b_dec)

    return formula


def gated(draw, gate, mag, r, norm=no_norm, centred=True):
    def formula(x):
        z, undo = norm(x.astype("f8"))
        h = (z - draw.b_dec if centred else z) @ draw.W_enc.astype("f8")
        f = (h + gate > 0) * relu(np.exp(r.astype("f8")) * h + mag)
        return f * np.linalg.norm(draw.W_dec, axis=1), undo(f @ draw.W_dec + draw.b_dec)

    return formula


def jump(draw):
    return lambda pre: pre * (pre > draw.threshold)


# ---- SAELens ------------------------------------------------------------------------------------


def saelens_folder(folder, tensors, **config):
    folder.mkdir(parents=True, exist_ok=True)
    base = {"d_in": D_MODEL, "d_sae": D_SAE, "dtype": "float32", "apply_b_dec_to_input": True,
            "normalize_activations": "none", "metadata": {"model_name": "some-vit"}}  # fmt: skip
    (folder / "cfg.json").write_text(json.dumps({**base, **config}))
    save_file(tensors, folder / "sae_weights.safetensors")
    return folder


def saelens_standard(folder):
    draw = Draw(1, free=True)
    saelens_folder(folder, draw.tensors(*BASIC), architecture="standard")
    return Peer(folder, plain(draw, relu))


def saelens_uncentred(folder):
    draw = Draw(2, free=True)
    saelens_folder(
        folder, draw.tensors(*BASIC), architecture="standard", apply_b_dec_to_input=False
    )
    return Peer(folder, plain(draw, relu, centred=False))


def saelens_scaled(folder):
    draw, s = Draw(3, free=True), 0.37
    saelens_folder(folder, draw.tensors(*BASIC), architecture="standard",
                   normalize_activations="expected_average_only_in",
                   apply_b_dec_to_input=False)  # fmt: skip
    (folder / "activation_scaler.json").write_text(json.dumps({"scaling_factor": s}))
    inner = plain(draw, relu, centred=False)

    def formula(x):
        strengths, x_hat = inner(s * x)
        return strengths / s, x_hat / s

    return Peer(folder, formula)


def saelens_root_norm(folder):
    draw = Draw(4)
    saelens_folder(folder, draw.tensors(*BASIC), architecture="topk", k=K,
                   normalize_activations="constant_norm_rescale")  # fmt: skip
    return Peer(folder, plain(draw, largest, root_norm))


def saelens_rescaled_topk(folder):
    draw = Draw(5, free=True)
    saelens_folder(
        folder, draw.tensors(*BASIC), architecture="topk", k=K, rescale_acts_by_decoder_norm=True
    )
    norms = np.linalg.norm(draw.W_dec, axis=1)
    return Peer(folder, plain(draw, lambda pre: largest(pre * norms) / norms))


def saelens_equal_topk(folder):
    draw = Draw(6)
    draw.W_dec *= 0.1
    saelens_folder(folder, draw.tensors(*BASIC), architecture="topk", k=K)
    return Peer(folder, plain(draw, largest))


def saelens_old_topk(folder):
    draw = Draw(7)
    saelens_folder(folder, draw.tensors(*BASIC), architecture="standard",
                   activation_fn_str="topk", activation_fn_kwargs={"k": K},
                   normalize_activations="layer_norm")  # fmt: skip
    return Peer(folder, plain(draw, largest, layer_norm))


def saelens_jumprelu(folder):
    draw = Draw(8, free=True)
    saelens_folder(folder, draw.tensors(*BASIC, "threshold"), architecture="jumprelu",
                   normalize_activations="layer_norm")  # fmt: skip
    return Peer(folder, plain(draw, jump(draw), layer_norm))


def _saelens_gated(folder, centred):
    draw = Draw(9, free=True)
    gate, mag, r = draw.vector(D_SAE), draw.vector(D_SAE), 0.5 * draw.vector(D_SAE)
    tensors = draw.tensors("W_enc", "W_dec", "b_dec")
    for name, value in {"b_gate": gate, "b_mag": mag, "r_mag": r}.items():
        tensors[name] = torch.from_numpy(value)
    saelens_folder(folder, tensors, architecture="gated", apply_b_dec_to_input=centred)
    return Peer(folder, gated(draw, gate, mag, r, centred=centred))


def saelens_gated(folder):
    return _saelens_gated(folder, True)


def saelens_gated_uncentred(folder):
    return _saelens_gated(folder, False)


# ---- pickled settings: ViT-Prisma and PatchSAE --------------------------------------------------


def pickled(module: str, name: str, settings: dict, tensors: dict, path: Path) -> None:
    """torch.save {"cfg", "state_dict"} whose cfg is of a class that is gone when it is read."""
    parts = module.split(".")
    names = [".".join(parts[: i + 1]) for i in range(len(parts))]
    cls = type(name, (), {"__module__": module})
    config = cls()
    vars(config).update(settings)
    for part in names:
        sys.modules[part] = types.ModuleType(part)
    setattr(sys.modules[module], name, cls)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"cfg": config, "state_dict": tensors}, path)
    finally:
        for part in names:
            del sys.modules[part]


PRISMA = {"d_in": D_MODEL, "d_sae": D_SAE, "architecture": "standard", "activation_fn_str": "relu",
          "activation_fn_kwargs": {}, "normalize_activations": "layer_norm",
          "dtype": torch.float32, "device": torch.device("cpu"), "cls_token_only": False,
          "hook_point_layer": 11, "layer_subtype": "hook_resid_post"}  # fmt: skip


def prisma_file(folder, tensors, **settings):
    path = folder / "n_images_2600058.pt"
    module = "vit_prisma.sae.config"
    pickled(module, "VisionModelSAERunnerConfig", {**PRISMA, **settings}, tensors, path)
    return path


def prisma_vanilla(folder):
    draw = Draw(10)
    path = prisma_file(folder, draw.tensors(*BASIC))
    return Peer(path, plain(draw, relu, layer_norm), {"allow_pickle": True})


def prisma_topk(folder):
    """Rows drift from unit norm in the last step before a checkpoint, so they are kept."""
    draw = Draw(11, free=True)
    prisma_file(
        folder, draw.tensors(*BASIC), activation_fn_str="topk", activation_fn_kwargs={"k": K}
    )
    formula = plain(draw, largest, layer_norm)
    return Peer(folder, formula, {"allow_pickle": True, "keep_norms": True})


def prisma_gated(folder):
    draw = Draw(12, free=True)
    gate, mag, r = draw.vector(D_SAE), draw.vector(D_SAE), draw.vector(D_SAE)
    tensors = draw.tensors(*BASIC)
    for name, value in {"b_gate": gate, "b_mag": mag, "r_mag": r}.items():
        tensors[name] = torch.from_numpy(value)
    path = prisma_file(folder, tensors, architecture="gated")
    return Peer(path, gated(draw, gate, mag, r, layer_norm), {"allow_pickle": True})


def prisma_weights(folder):
    """The released form: tensors alone, and settings in JSON; no pickle flag is needed."""
    draw = Draw(13)
    folder.mkdir(parents=True)
    torch.save(draw.tensors(*BASIC), folder / "weights.pt")
    settings = {key: value for key, value in PRISMA.items() if key not in ("dtype", "device")}
    settings["dtype"] = {"__type__": "torch.dtype", "value": "torch.float32"}
    (folder / "config.json").write_text(json.dumps(settings))
    return Peer(folder, plain(draw, relu, layer_norm))


def patchsae(folder):
    draw = Draw(14)
    path = folder / "clip-vit-base-patch16_-2_resid_49152.pt"
    settings = {"d_in": D_MODEL, "gated_sae": False, "block_layer": -2, "dtype": torch.float32}
    module = "src.sae_training.config"
    pickled(module, "ViTSAERunnerConfig", settings, draw.tensors(*BASIC), path)
    return Peer(path, plain(draw, relu), {"allow_pickle": True})


def patchsae_dict(folder):
    draw = Draw(15)
    folder.mkdir(parents=True)
    content = {"cfg": {"gated_sae": False}, "state_dict": draw.tensors(*BASIC)}
    torch.save(content, folder / "sae_of_patches.pt")
    return Peer(folder / "sae_of_patches.pt", plain(draw, relu))


# ---- saev, sparsify, dictionary_learning, OpenAI -------------------------------------------------


def saev_file(folder, header, tensors):
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "sae.pt", "wb") as file:
        file.write((json.dumps(header) + "\n").encode())
        torch.save(tensors, file)
    return folder


def saev_header(cls, **params):
    config = {"d_vit": D_MODEL, "activation": {"cls": cls, "params": params}}
    return {"schema": 2, "cfg": config, "commit": "0", "lib": "0.1"}


def saev_relu(folder):
    draw = Draw(16)
    saev_file(folder, saev_header("Relu"), draw.tensors(*BASIC))
    return Peer(folder / "sae.pt", plain(draw, relu, centred=False))


def saev_first_schema(folder):
    draw = Draw(17)
    saev_file(folder, {"d_vit": D_MODEL, "exp_factor": 3}, draw.tensors(*BASIC))
    return Peer(folder, plain(draw, relu))


def saev_second_schema(folder):
    draw = Draw(31)
    header = {"schema": 1, "cls": "TopK", "cfg": {"d_vit": D_MODEL, "top_k": K}}
    saev_file(folder, header, draw.tensors(*BASIC))
    return Peer(folder, plain(draw, largest))


def saev_topk(folder):
    draw = Draw(18)
    saev_file(folder, saev_header("TopK", top_k=K), draw.tensors(*BASIC))
    return Peer(folder, plain(draw, largest, centred=False))


def saev_threshold(folder):
    draw = Draw(19)
    tensors = draw.tensors(*BASIC) | {"activation.threshold": torch.tensor(0.8)}
    saev_file(folder, {**saev_header("BatchTopK", top_k=K), "schema": 5}, tensors)
    return Peer(folder, plain(draw, lambda pre: pre * (pre > np.float32(0.8)), centred=False))


def sparsify(folder):
    draw = Draw(20)
    folder.mkdir(parents=True)
    tensors = draw.tensors("W_dec", "b_dec")
    tensors["encoder.weight"] = torch.from_numpy(draw.W_enc.T.copy())
    tensors["encoder.bias"] = torch.from_numpy(draw.b_enc)
    save_file(tensors, folder / "sae.safetensors")
    config = {"d_in": D_MODEL, "num_latents": D_SAE, "k": K, "activation": "topk",
              "transcode": False, "skip_connection": False, "normalize_decoder": True}  # fmt: skip
    (folder / "cfg.json").write_text(json.dumps(config))
    return Peer(folder, plain(draw, lambda pre: largest(relu(pre))))


def dictionary_folder(folder, dict_class, tensors):
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(tensors, folder / "ae.pt")
    config = {"trainer": {"dict_class": dict_class, "layer": 7, "lm_name": "vit"}, "buffer": {}}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def linear(draw, bias):
    return {
        "encoder.weight": torch.from_numpy(draw.W_enc.T.copy()),
        "encoder.bias": torch.from_numpy(draw.b_enc),
        "decoder.weight": torch.from_numpy(draw.W_dec.T.copy()),
        bias: torch.from_numpy(draw.b_dec),
    }


def dictionary_standard(folder):
    draw = Draw(21)
    dictionary_folder(folder, "AutoEncoder", linear(draw, "bias"))
    return Peer(folder, plain(draw, relu))


def dictionary_april(folder):
    draw = Draw(22, free=True)
    dictionary_folder(folder, "AutoEncoderNew", linear(draw, "decoder.bias"))
    return Peer(folder, plain(draw, relu, centred=False))


def dictionary_topk(folder):
    draw = Draw(23)
    tensors = linear(draw, "b_dec")
    tensors |= {"k": torch.tensor(K, dtype=torch.int), "threshold": torch.tensor(0.4)}
    dictionary_folder(folder, "AutoEncoderTopK", tensors)
    return Peer(folder / "ae.pt", plain(draw, lambda pre: largest(relu(pre))))


def dictionary_batchtopk(folder):
    draw = Draw(24)
    tensors = linear(draw, "b_dec")
    tensors |= {"k": torch.tensor(K, dtype=torch.int), "threshold": torch.tensor(0.7)}
    dictionary_folder(folder, "BatchTopKSAE", tensors)
    return Peer(folder, plain(draw, lambda pre: relu(pre) * (relu(pre) > np.float32(0.7))))


def dictionary_matryoshka(folder):
    draw = Draw(25)
    tensors = draw.tensors(*BASIC) | {
        "k": torch.tensor(K),
        "threshold": torch.tensor(-1.0),  # as it is before training has estimated it
        "group_sizes": torch.tensor([8, 12]),
    }
    dictionary_folder(folder, "MatryoshkaBatchTopKSAE", tensors)
    return Peer(folder, plain(draw, relu))


def dictionary_jumprelu(folder):
    draw = Draw(26, free=True)
    dictionary_folder(folder, "JumpReluAutoEncoder", draw.tensors(*BASIC, "threshold"))
    return Peer(folder, plain(draw, lambda pre: relu(pre * (pre > draw.threshold)), centred=False))


def dictionary_gated(folder):
    draw = Draw(27, free=True)
    gate, mag, r = draw.vector(D_SAE), draw.vector(D_SAE), draw.vector(D_SAE)
    tensors = linear(draw, "decoder_bias")
    del tensors["encoder.bias"]
    for name, value in {"gate_bias": gate, "mag_bias": mag, "r_mag": r}.items():
        tensors[name] = torch.from_numpy(value)
    dictionary_folder(folder, "GatedAutoEncoder", tensors)
    return Peer(folder, gated(draw, gate, mag, r))


def openai_state(draw, activation, state):
    return {
        "pre_bias": torch.from_numpy(draw.b_dec),
        "encoder.weight": torch.from_numpy(draw.W_enc.T.copy()),
        "latent_bias": torch.from_numpy(draw.b_enc),
        "decoder.weight": torch.from_numpy(draw.W_dec.T.copy()),
        "stats_last_nonzero": torch.zeros(D_SAE, dtype=torch.long),
        "activation": activation,
        "activation_state_dict": state,
    }


def openai_topk(folder):
    draw = Draw(28)
    folder.mkdir(parents=True)
    state = openai_state(draw, "TopK", {"k": K, "postact_fn": "ReLU"})
    torch.save(state, folder / "autoencoder.pt")
    return Peer(folder / "autoencoder.pt", plain(draw, largest, layer_norm))


def openai_tied(folder):
    draw = Draw(29)
    draw.W_dec = draw.W_enc.T.copy()
    folder.mkdir(parents=True)
    state = openai_state(draw, "ReLU", {})
    state["decoder.linear.weight"] = state["encoder.weight"]
    del state["decoder.weight"]
    torch.save(state, folder / "autoencoder.pt")
    return Peer(folder / "autoencoder.pt", plain(draw, relu))


PEERS = [
    saelens_standard, saelens_uncentred, saelens_scaled, saelens_root_norm, saelens_rescaled_topk,
    saelens_equal_topk, saelens_old_topk, saelens_jumprelu, saelens_gated, saelens_gated_uncentred,
    prisma_vanilla, prisma_topk, prisma_gated, prisma_weights, patchsae, patchsae_dict, saev_relu,
    saev_first_schema, saev_second_schema, saev_topk, saev_threshold, sparsify,
    dictionary_standard, dictionary_april, dictionary_topk, dictionary_batchtopk,
    dictionary_matryoshka, dictionary_jumprelu, dictionary_gated, openai_topk, openai_tied,
]  # fmt: skip
