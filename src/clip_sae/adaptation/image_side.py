"""The image tower with prompts: extra tokens behind the patches, replaced before the first blocks.

PatchSAE §5 reads the residual of an adapted tower. CLS and patches keep their positions, so the
same sparse autoencoder reads them; the prompts come last, as in the store.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

from clip_sae.clip.head import reads_cls
from clip_sae.clip.model import EMBEDDING, ClipModel, Key


class ImageSide:
    """A frozen image tower and its prompts; gradients reach the prompts.

    Args:
        prompts: [depth, prompt, d_model]; entry i stands behind the patches before block i, in
            place of the previous block's outputs for prompts. Later blocks keep those outputs.

    Raises ValueError for more depth than blocks, another width, or a tower that averages tokens,
    whose average would then contain the prompts.
    """

    def __init__(self, model: ClipModel, prompts: Tensor) -> None:
        sizes = model.architecture
        depth, n_prompts, width = prompts.shape
        if width != sizes.d_model or (n_prompts and depth > sizes.n_layers):
            raise ValueError(
                f"prompts {list(prompts.shape)} [block, prompt, d_model] do not fit "
                f"{model.source.model!r}: {sizes.n_layers} blocks of width {sizes.d_model}."
            )
        if n_prompts and not reads_cls(model.visual):
            raise ValueError(
                f"{model.source.model!r} averages its tokens, which would include visual prompts. "
                "Learn text (coop), or choose a CLIP that reads CLS, e.g. ViT-B-16."
            )
        self.model = model
        self.prompts = prompts.to(model.device)

    @property
    def n_prompts(self) -> int:
        """Tokens of the residual stream after CLS and patches."""
        return self.prompts.shape[1]

    def run_to(self, pixels: Tensor, layers: Sequence[int]) -> dict[int, Tensor]:
        """Return {layer: resid_post [image, CLS + patch + prompt, d_model]} of normalised pixels.

        The prompts of layer l are the outputs of block l for the prompts that entered it.
        """
        found = self.run_to_pairs(pixels, [("resid_post", layer) for layer in layers])
        return {layer: found["resid_post", layer] for layer in layers}

    def run_to_pairs(self, pixels: Tensor, wanted: Sequence[Key]) -> dict[Key, Tensor]:
        """Like `run_to`, for (hook, layer) pairs, as `ClipModel.run_to_pairs`."""
        with self._inserted():
            return self.model.run_to_pairs(pixels, wanted)

    def run_from(self, resid_post: Tensor, layer: int) -> Tensor:
        """Return image embeddings [image, d_embed] of unit length of a residual after `layer`.

        Blocks up to the depth get their own prompts, whatever stands in the residual behind the
        patches. Later blocks see the residual's tokens unchanged: a residual without prompts then
        runs without any.
        """
        with self._inserted():
            return F.normalize(self.model.run_from(resid_post, layer), dim=-1)

    def embed(self, pixels: Tensor) -> Tensor:
        """Return embeddings of unit length [image, d_embed] of normalised pixels."""
        last = self.model.architecture.n_layers - 1
        with self._inserted():
            found = self.model.run_to_pairs(pixels, (), embedding=True)
        return F.normalize(found[EMBEDDING, last], dim=-1)

    @contextmanager
    def _inserted(self) -> Iterator[None]:
        """While open, the first blocks of the tower get the prompts behind the patches."""
        if not self.n_prompts:
            yield  # without hooks, the frozen tower keeps all of its shortcuts
            return
        visual = self.model.visual
        n_tokens = self.model.architecture.n_tokens
        axis = 1 if visual.transformer.batch_first else 0

        def put_before(layer: int):
            def put(_block: torch.nn.Module, inputs: tuple) -> tuple:
                x, *others = inputs  # [image token d_model], or tokens first
                own = self.prompts[layer]
                if layer == 0:
                    own = visual.ln_pre(own)  # tokens are normed before the first block
                own = own.unsqueeze(1 - axis)
                shape = list(x.shape)
                shape[axis] = self.n_prompts
                kept = x.narrow(axis, 0, n_tokens)
                return (torch.cat([kept, own.to(x.dtype).expand(shape)], dim=axis), *others)

            return put

        handles = [
            visual.transformer.resblocks[layer].register_forward_pre_hook(put_before(layer))
            for layer in range(len(self.prompts))
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
