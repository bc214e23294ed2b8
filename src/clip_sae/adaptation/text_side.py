"""The text tower with prompts: learned vectors in place of the words before the class name.

PatchSAE §5 (CoOp and MaPLe). The vectors stand right after the start token; MaPLe puts others there
before each of the first blocks.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clip_sae.clip.model import ClipModel


class TextSide:
    """A frozen text tower, a template and learned vectors; gradients reach the vectors.

    Args:
        template: the text of a class, one "{}" for its name.
        prompts: [depth, vector, text width]; entry 0 replaces the embeddings of the first words of
            the template, entry i the inputs of block i at the same positions. Entries beyond the
            tower's blocks are not used.

    Raises ValueError for a template with too few words before the name.
    """

    def __init__(self, model: ClipModel, template: str, prompts: Tensor) -> None:
        self.model, self.template = model, template
        self.prompts = prompts.to(model.device)
        self._tokens: dict[tuple[str, ...], Tensor] = {}
        self._start = first_tokens(model, template, self.n_prompts)  # [vector]

    @property
    def n_prompts(self) -> int:
        """Learned vectors before the class name."""
        return self.prompts.shape[1]

    def class_embeddings(self, names: Sequence[str], batch_texts: int = 256) -> Tensor:
        """Return [class, d_embed] of unit length."""
        tokens = self._tokens_of(tuple(names))
        with self._inserted():
            parts = [self.model.module.encode_text(part) for part in tokens.split(batch_texts)]
        return F.normalize(torch.cat(parts), dim=-1)

    def _tokens_of(self, names: tuple[str, ...]) -> Tensor:
        if names not in self._tokens:
            # "{}" is replaced, not formatted: a class name may hold other braces.
            texts = [self.template.replace("{}", name) for name in names]
            tokens = self.model.tokenizer(texts).to(self.model.device)
            _check_start(tokens, names, self._start)
            self._tokens = {names: tokens}
        return self._tokens[names]

    @contextmanager
    def _inserted(self) -> Iterator[None]:
        """While open, positions 1 to n of every text hold the vectors."""
        n = self.n_prompts
        if not n:
            yield
            return
        tower = text_tower(self.model)
        transformer = tower.transformer
        blocks_axis = 1 if transformer.batch_first else 0

        def put_words(_module: nn.Module, _inputs: tuple, output: Tensor) -> Tensor:
            return _with_vectors(output, self.prompts[0], axis=1)

        def put_before(layer: int):
            def put(_block: nn.Module, inputs: tuple) -> tuple:
                x, *others = inputs
                return (_with_vectors(x, self.prompts[layer], blocks_axis), *others)

            return put

        deep = range(1, min(len(self.prompts), len(transformer.resblocks)))
        handles = [tower.token_embedding.register_forward_hook(put_words)]
        handles += [
            transformer.resblocks[layer].register_forward_pre_hook(put_before(layer))
            for layer in deep
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def text_tower(model: ClipModel) -> nn.Module:
    """Return the module with `token_embedding` and `transformer`: CLIP itself or its text tower."""
    for owner in (model.module, getattr(model.module, "text", None)):
        if isinstance(getattr(owner, "token_embedding", None), nn.Embedding):
            return owner
    raise ValueError(
        f"{model.source.model!r} has no token embedding of open_clip's own text tower, so no "
        "context can be learned. Choose a CLIP with open_clip's text transformer, e.g. ViT-B-16."
    )


def text_width(model: ClipModel) -> int:
    """Return the width of the text tower's token embeddings."""
    return text_tower(model).token_embedding.weight.shape[1]


def first_words(model: ClipModel, template: str, n: int) -> Tensor:
    """Return the embeddings [n, text width] of the first n tokens of the template."""
    embedding = text_tower(model).token_embedding.weight
    return embedding[first_tokens(model, template, n)].detach().clone()


def first_tokens(model: ClipModel, template: str, n: int) -> Tensor:
    """Return the ids [n] of the first tokens of the template; ValueError if it has fewer."""
    before = template.split("{}")[0]
    with_words, without = (model.tokenizer([text])[0] for text in (before, ""))
    # The tokens of `before` shift the end of text by their number.
    found = int(with_words.argmax()) - int(without.argmax())
    if found < n:
        raise ValueError(
            f"template {template!r} has {found} tokens before the class name, but {n} vectors "
            "replace them. Write more words there, or learn fewer vectors."
        )
    return with_words[1 : 1 + n].to(model.device)


def _with_vectors(x: Tensor, vectors: Tensor, axis: int) -> Tensor:
    """Return x [text, position, width] (or positions first), `vectors` at positions 1 to n."""
    n = len(vectors)
    shape = list(x.shape)
    shape[axis] = n
    middle = vectors.unsqueeze(1 - axis).to(x.dtype).expand(shape)
    after = x.narrow(axis, 1 + n, x.shape[axis] - 1 - n)
    return torch.cat([x.narrow(axis, 0, 1), middle, after], dim=axis)


def _check_start(tokens: Tensor, names: Sequence[str], start: Tensor) -> None:
    other = (tokens[:, 1 : 1 + len(start)] != start).any(dim=1)
    if bool(other.any()):
        name = names[int(other.nonzero()[0, 0])]
        raise ValueError(
            f"the text of class {name!r} does not begin with the {len(start)} tokens of the "
            "template, so learned vectors would replace parts of its name. Put a space before {}."
        )
