"""Training steps of sparsify, SAELens and dictionary_learning, through their own trainers.

Runs in an environment that has them (see training.md), started by training.py. Each takes its
full step: forward, backward, its clipping and projection, Adam, counters. All start
from the same weights and learning rate, without warm-up; everything else is the package's default.
"""

import contextlib
import os
from importlib.metadata import version

import torch
from peers.protocol import LEVELS, Start, Task, Trainer, explained_variance, serve


class Sparsify:
    """SparseCoder in the order of sparsify's Trainer, which itself takes language models only."""

    def __init__(self, task: Task) -> None:
        if task.device == "cpu":
            os.environ["SPARSIFY_DISABLE_TRITON"] = "1"  # its Triton decoder needs a GPU
        from sparsify import SparseCoder, SparseCoderConfig

        task.imported()
        config = SparseCoderConfig(num_latents=task.n, k=task.k)
        self.coder = SparseCoder(task.d_model, config, task.device, dtype=torch.float32)
        start = task.start()
        set_weights(self.coder.encoder.weight, start.W_enc_rows)
        set_weights(self.coder.encoder.bias, start.bias)
        set_weights(self.coder.W_dec, start.W_dec)
        set_weights(self.coder.b_dec, start.b_dec)
        self.adam = torch.optim.Adam(self.coder.parameters(), lr=task.lr)
        self.silent = torch.zeros(task.n, dtype=torch.long, device=task.device)
        self.fired = torch.zeros(task.n, dtype=torch.bool, device=task.device)

    def step(self, x: torch.Tensor) -> None:
        self.coder.set_decoder_norm_to_unit_norm()
        variance = (x - x.mean(0)).pow(2).sum()
        out = self.coder(x=x, y=x, dead_mask=None, total_variance=variance)
        self.fired[out.latent_indices.flatten()] = True
        float(out.fvu.detach())
        (out.fvu + out.multi_topk_fvu / 8).backward()
        self.coder.remove_gradient_parallel_to_decoder_directions()
        self.adam.step()
        self.adam.zero_grad()
        self.silent += len(x)
        self.silent[self.fired] = 0
        self.fired.zero_()

    @torch.no_grad()
    def evaluate(self, x: torch.Tensor) -> dict[str, float]:
        self.coder.set_decoder_norm_to_unit_norm()
        out = self.coder(x)
        l0 = float((out.latent_acts > 0).sum(dim=-1).float().mean())
        return {"explained_variance": explained_variance(x, out.sae_out), "l0": l0}


class SaeLens:
    """SAETrainer.step with the training SAE of the architecture."""

    def __init__(self, task: Task) -> None:
        import sae_lens
        from sae_lens.config import SAETrainerConfig
        from sae_lens.training.sae_trainer import SAETrainer

        task.imported()
        name, own = {
            "topk": ("TopK", {"k": task.k}),
            "vanilla": ("Standard", {"l1_coefficient": task.l1}),
            "batchtopk": ("BatchTopK", {"k": task.k}),
            "jumprelu": ("JumpReLU", {}),
            "gated": ("Gated", {"l1_coefficient": task.l1}),
            "matryoshka": (
                "MatryoshkaBatchTopK",
                {"k": task.k, "matryoshka_widths": [int(task.n * share) for share in LEVELS]},
            ),
        }[task.architecture]
        if task.trainer == "SAELens, no rescaling":
            own["rescale_acts_by_decoder_norm"] = False
        size = {"d_in": task.d_model, "d_sae": task.n, "device": task.device}
        config = getattr(sae_lens, f"{name}TrainingSAEConfig")(**size, **own)
        self.sae = getattr(sae_lens, f"{name}TrainingSAE")(config)
        start = task.start()
        set_weights(self.sae.W_enc, start.W_enc_rows.T)
        set_weights(self.sae.W_dec, start.W_dec)
        set_weights(self.sae.b_dec, start.b_dec)
        for bias in ("b_enc", "b_gate", "b_mag"):
            if isinstance(getattr(self.sae, bias, None), torch.Tensor):
                set_weights(getattr(self.sae, bias), start.bias)
        training = SAETrainerConfig(
            total_training_samples=task.batch * task.total_steps,
            train_batch_size_samples=task.batch,
            lr=task.lr,
            lr_end=task.lr,  # its runner fills this in; the schedule is constant either way
            device=task.device,
            autocast=task.device != "cpu",
        )
        self.trainer = SAETrainer(training, self.sae, iter(()))

    def step(self, x: torch.Tensor) -> None:
        self.trainer.step(x)
        self.trainer.n_training_steps += 1

    @torch.no_grad()
    def evaluate(self, x: torch.Tensor) -> dict[str, float]:
        codes, _ = self.sae.encode_with_hidden_pre(x)
        x_hat = self.sae.decode(codes)
        l0 = float((codes > 0).sum(dim=-1).float().mean())
        return {"explained_variance": explained_variance(x, x_hat), "l0": l0}


class DictionaryLearning:
    """`update` of the architecture's trainer."""

    def __init__(self, task: Task) -> None:
        from dictionary_learning.trainers.batch_top_k import BatchTopKTrainer
        from dictionary_learning.trainers.gdm import GatedSAETrainer
        from dictionary_learning.trainers.jumprelu import JumpReluTrainer
        from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKTrainer
        from dictionary_learning.trainers.standard import StandardTrainer
        from dictionary_learning.trainers.top_k import TopKTrainer

        task.imported()
        penalty = {"l1_penalty": task.l1, "sparsity_warmup_steps": None}
        shares = [high - low for low, high in zip((0, *LEVELS), LEVELS, strict=False)]
        trainer, own = {
            "topk": (TopKTrainer, {"k": task.k}),
            "vanilla": (StandardTrainer, penalty),
            "batchtopk": (BatchTopKTrainer, {"k": task.k}),
            "jumprelu": (JumpReluTrainer, {"sparsity_warmup_steps": None}),
            "gated": (GatedSAETrainer, penalty),
            "matryoshka": (MatryoshkaBatchTopKTrainer, {"k": task.k, "group_fractions": shares}),
        }[task.architecture]
        self.trainer = trainer(
            # One step more, since its steps are counted from 1 here.
            steps=task.total_steps + 2,
            activation_dim=task.d_model,
            dict_size=task.n,
            layer=0,
            lm_name="none",
            lr=task.lr,
            warmup_steps=0,
            device=task.device,
            **own,
        )
        self.device, self.ae = task.device, self.trainer.ae
        self.take_over(task.start())
        # At step 0 the trainer would replace b_dec by the first batch's median.
        self.steps_done = 1

    def take_over(self, start: Start) -> None:
        """Copy the common weights into this architecture's parameters."""
        own = dict(self.ae.named_parameters())
        for name, values in {
            "encoder.weight": start.W_enc_rows,
            "decoder.weight": start.W_dec.T,
            "W_enc": start.W_enc_rows.T,
            "W_dec": start.W_dec,
            **dict.fromkeys(("b_dec", "bias", "decoder_bias"), start.b_dec),
            **dict.fromkeys(("encoder.bias", "b_enc", "gate_bias", "mag_bias"), start.bias),
        }.items():
            if name in own:
                set_weights(own[name], values)
        if "r_mag" in own:
            set_weights(own["r_mag"], 0.0)  # gate and magnitude alike, as in SAELens

    def autocast(self) -> contextlib.AbstractContextManager:
        """Train as its training loop does with `autocast_dtype`."""
        if self.device == "cpu":
            return contextlib.nullcontext()
        return torch.autocast("cuda", dtype=torch.bfloat16)

    def step(self, x: torch.Tensor) -> None:
        with self.autocast():
            self.trainer.update(self.steps_done, x)
        self.steps_done += 1

    @torch.no_grad()
    def evaluate(self, x: torch.Tensor) -> dict[str, float]:
        try:
            # The inference threshold of BatchTopK is only learnt after step 1,000.
            codes = self.ae.encode(x, use_threshold=False)
        except TypeError:
            codes = self.ae.encode(x)
        l0 = float((codes > 0).sum(dim=-1).float().mean())
        return {"explained_variance": explained_variance(x, self.ae.decode(codes)), "l0": l0}


def set_weights(parameter: torch.Tensor, values: torch.Tensor | float) -> None:
    """Copy values in place, so that the parameter keeps its own memory layout."""
    with torch.no_grad():
        parameter.copy_(torch.as_tensor(values))


TRAINERS = {
    "sparsify": Sparsify,
    "SAELens": SaeLens,
    "SAELens, no rescaling": SaeLens,
    "dictionary_learning": DictionaryLearning,
}


def make(task: Task) -> Trainer:
    return TRAINERS[task.trainer](task)


def versions() -> dict[str, str]:
    packages = ("torch", "eai-sparsify", "sae-lens", "dictionary-learning")
    return {package: version(package) for package in packages}


if __name__ == "__main__":
    serve(make, versions)
