"""CLIP with two entries: images up to a layer, and from a layer's residual to the embedding.

§3.1 (hook points) and §5 (interventions start from the cached residual). Only this module
indexes the blocks of the network and defines `resid_post` and `mlp_out`.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property

import numpy as np
import open_clip
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clip_sae.clip.head import Head, can_run_cls_only, cls_of_block, head_of
from clip_sae.clip.tokenizer import WordTokenizer
from clip_sae.clip.weights import build_module, model_fingerprint
from clip_sae.planning.architecture import Architecture, ModelError, ModelSource, architecture
from clip_sae.planning.fingerprints import VOCABULARY_NAME

__all__ = ["HOOKS", "ClipModel", "ModelError", "ModelSource", "load_clip", "model_fingerprint"]

HOOKS = ("resid_post", "mlp_out")
EMBEDDING = "embedding"
PRECISIONS = ("auto", "float32", "bfloat16", "float16")

Key = tuple[str, int]  # (hook, layer)


def load_clip(source: ModelSource, *, device: str = "auto", precision: str = "auto") -> "ClipModel":
    """Return the CLIP of `source`, ready to run.

    Args:
        source: architecture and weights.
        device: "auto" (CUDA, then Apple's MPS, then CPU) or a torch device.
        precision: dtype of the blocks' matrix products. "auto" is float32 on the CPU and MPS, and
            on CUDA bfloat16 if the device has it, else float16. Weights, the embedding, the
            residual stream and the output stay float32 at any precision.
    """
    return ClipModel(source, build_module(source), device=device, precision=precision)


class ClipModel:
    """An open_clip model with a VisionTransformer tower; weights frozen, gradients reach inputs.

    `layer` counts blocks from 0; `token` 0 is CLS, patches follow row-major.
    - `resid_post` of a layer: the residual stream after its block [image, token, d_model].
    - `mlp_out` of a layer: the contribution of its MLP to the residual stream, after LayerScale if
      the tower has one. An edit of it is therefore the same edit of `resid_post`.
    """

    def __init__(
        self,
        source: ModelSource,
        module: nn.Module,
        *,
        device: str = "auto",
        precision: str = "auto",
    ) -> None:
        self.source = source
        self.architecture: Architecture = architecture(source)
        self.device = _device(device)
        self.autocast_dtype = _autocast_dtype(self.device, precision)
        self.module = module.to(self.device)
        self.visual = module.visual
        self.mean: tuple[float, ...] = tuple(module.visual.image_mean)
        self.std: tuple[float, ...] = tuple(module.visual.image_std)
        self.logit_scale = float(module.logit_scale.detach().exp())
        # Made once: a small copy to the device per batch would wait for the last forward pass.
        self._pixel_mean = torch.tensor(self.mean, device=self.device).view(3, 1, 1)
        self._pixel_std = torch.tensor(self.std, device=self.device).view(3, 1, 1)

    @cached_property
    def tokenizer(self):
        """Callable: texts to token ids [text, position]."""
        folder = self.source.folder
        if folder is not None and (folder / VOCABULARY_NAME).is_file():
            return WordTokenizer(folder / VOCABULARY_NAME)
        return open_clip.get_tokenizer(self.source.name)

    @cached_property
    def head(self) -> Head:
        """The final norm and the projection, after the last block."""
        return head_of(self.visual)

    def normalise(self, images: np.ndarray | Tensor) -> Tensor:
        """Turn bytes [image, height, width, channel] into the input [image, channel, h, w].

        Channel-wise (x / 255 − mean) / std in float32, on this model's device.
        """
        size = self.architecture.image_size
        images = torch.as_tensor(images)
        if images.dtype != torch.uint8 or images.shape[1:] != (size, size, 3):
            raise ValueError(
                f"normalise needs uint8 [image, {size}, {size}, 3]; got {images.dtype} "
                f"{list(images.shape)}. decode_image(path, image_size={size}) makes such images."
            )
        images = images.to(self.device, non_blocking=True)
        pixels = images.permute(0, 3, 1, 2).contiguous().float()  # [image channel h w]
        return pixels.div_(255.0).sub_(self._pixel_mean).div_(self._pixel_std)

    def run_to(
        self,
        pixels: Tensor,
        layers: Sequence[int],
        hooks: Sequence[str] = ("resid_post",),
        *,
        embedding: bool = False,
    ) -> dict[Key, Tensor]:
        """Run images up to the last requested layer and return every hook of the layers.

        Returns {(hook, layer): [image, token, d_model]}. With `embedding` all blocks run, and
        ("embedding", last layer) holds the raw image embedding [image, d_embed].
        """
        wanted = [(hook, layer) for layer in layers for hook in hooks]
        return self.run_to_pairs(pixels, wanted, embedding=embedding)

    def run_to_pairs(
        self, pixels: Tensor, wanted: Iterable[Key], *, embedding: bool = False
    ) -> dict[Key, Tensor]:
        """Return the result of `run_to` for chosen (hook, layer) pairs."""
        wanted = list(dict.fromkeys(wanted))
        for hook, layer in wanted:
            self.check_layer(layer)
            if hook not in HOOKS:
                raise ValueError(f"hook {hook!r} does not exist; hooks: {', '.join(HOOKS)}.")
        last = self.architecture.n_layers - 1
        stop = last if embedding else max((layer for _, layer in wanted), default=-1)
        found: dict[Key, Tensor] = {}
        x = self.visual._embeds(pixels.to(self.device))  # [image token d_model]
        x = self._run_blocks(x, 0, stop, wanted, found)
        if embedding:
            found[EMBEDDING, last] = self._pool(x)
        return found

    def run_from(self, resid_post: Tensor, layer: int) -> Tensor:
        """Run a residual stream from after block `layer` to the image embedding [image, d_embed].

        The embedding is raw: neither of unit length nor scaled, as open_clip's `encode_image`.
        `resid_post` [image, token, d_model] may hold more tokens than CLS and patches (prompts).
        After the last layer no block runs, and CLS alone is enough if the tower pools CLS. For such
        towers the last block computes the CLS row alone.
        """
        self.check_layer(layer)
        x = resid_post.to(self.device, torch.float32)
        return self._pool(self._run_blocks(x, layer + 1, self.architecture.n_layers - 1, (), {}))

    def run_between(self, resid_post: Tensor, layer: int, until: int) -> Tensor:
        """Run a residual stream from after block `layer` to after block `until`, every token.

        Both are [image, token, d_model]. Edits at several layers call it once per pair of layers.
        """
        for end in (layer, until):
            self.check_layer(end)
        if until < layer:
            raise ValueError(f"run_between runs upwards; from layer {layer} to {until} it cannot.")
        x = resid_post.to(self.device, torch.float32)
        found: dict[Key, Tensor] = {}
        self._run_blocks(x, layer + 1, until, [("resid_post", until)], found)
        return found.get(("resid_post", until), x)

    def embed_images(self, pixels: Tensor) -> Tensor:
        """Return embeddings of unit length [image, d_embed] of normalised pixels."""
        last = self.architecture.n_layers - 1
        return F.normalize(self.run_to_pairs(pixels, (), embedding=True)[EMBEDDING, last], dim=-1)

    def embed_text(self, texts: Sequence[str], batch_size: int = 256) -> Tensor:
        """Return embeddings of unit length [text, d_embed], always computed in float32."""
        batches = []
        for start in range(0, len(texts), batch_size):
            tokens = self.tokenizer(list(texts[start : start + batch_size])).to(self.device)
            batches.append(self.module.encode_text(tokens, normalize=True))
        return torch.cat(batches) if batches else torch.empty(0, self.architecture.d_embed)

    def check_layer(self, layer: int) -> None:
        """Raise ValueError for a layer that this tower does not have."""
        n_layers = self.architecture.n_layers
        if not 0 <= layer < n_layers:
            raise ValueError(
                f"layer {layer} is not in {self.source.model!r}; its {n_layers} layers are "
                f"0 to {n_layers - 1}."
            )

    def _run_blocks(
        self, x: Tensor, start: int, stop: int, wanted: Sequence[Key], found: dict[Key, Tensor]
    ) -> Tensor:
        """Run blocks `start` to `stop` (both included) and put the wanted hooks into `found`.

        The result of the last block may hold CLS alone. x stays float32 under autocast, because it
        enters as such and each block adds to it.
        """
        transformer = self.visual.transformer
        flip = not transformer.batch_first  # towers that want [token, image, d_model]
        x = x.transpose(0, 1).contiguous() if flip else x
        last = self.architecture.n_layers - 1
        # No other token of the last block reaches the embedding; a wanted hook needs them all.
        to_cls = all(layer != last for _, layer in wanted)
        with self._autocast(), _caught_mlp_out(transformer.resblocks, wanted, found):
            for layer in range(start, stop + 1):
                block = transformer.resblocks[layer]
                if layer == last and to_cls and can_run_cls_only(self.visual, block):
                    x = cls_of_block(block, x, transformer.batch_first)
                    continue
                x = block(x)
                if ("resid_post", layer) in wanted:
                    found["resid_post", layer] = x
        if flip:
            found.update({key: value.transpose(0, 1) for key, value in found.items()})
        for key, value in found.items():
            found[key] = value.float()
        return x.transpose(0, 1) if flip else x

    def _pool(self, x: Tensor) -> Tensor:
        """Apply final norm, pooling and projection: [image, token, d_model] to [image, d_embed]."""
        if self.visual.pool_type == "tok":
            x = x[:, :1]  # the norm of the other tokens is not used
        pooled, _ = self.visual._pool(x)
        return pooled if self.visual.proj is None else pooled @ self.visual.proj

    def _autocast(self):
        if self.autocast_dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.autocast_dtype)


@contextmanager
def _caught_mlp_out(
    blocks: nn.ModuleList, wanted: Sequence[Key], found: dict[Key, Tensor]
) -> Iterator[None]:
    """Add the MLP's contribution of the requested layers to `found` during the context."""

    def catch(layer: int):
        def hook(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
            found["mlp_out", layer] = output

        # ls_2 is LayerScale or nothing: the last step before the sum with the residual stream.
        return blocks[layer].ls_2.register_forward_hook(hook)

    handles = [catch(layer) for hook, layer in wanted if hook == "mlp_out"]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _device(name: str) -> torch.device:
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _autocast_dtype(device: torch.device, precision: str) -> torch.dtype:
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r} does not exist; write {', '.join(PRECISIONS)}.")
    if precision != "auto":
        return getattr(torch, precision)
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
