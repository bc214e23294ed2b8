"""The learned tensors of an adaptation: prompts of one method, their start, and their file.

CoOp (Zhou et al. 2022): vectors in place of the words before the class name. VPT-deep (Jia et al.
2022): extra tokens of the image tower, others in each block. MaPLe (Khattak et al. 2023): vectors
of the text tower and, by a linear map per block, extra tokens of the image tower.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from clip_sae.planning.specs import write_bytes

NONE, COOP, VPT, MAPLE, CHECKPOINT = "none", "coop", "vpt", "maple", "checkpoint"
KINDS = (NONE, COOP, VPT, MAPLE, CHECKPOINT)


@dataclass(frozen=True)
class PromptSpec:
    """Shapes and positions of prompts.

    Attributes:
        kind: one of KINDS.
        template: the text of a class, one "{}" for its name. The learned vectors of the text side
            replace its first tokens.
        n_context: learned vectors before the class name (CoOp, MaPLe), 0 for none.
        n_visual: extra tokens of the image tower (VPT, MaPLe), 0 for none.
        depth: number of first blocks that get prompts of their own (VPT, MaPLe). Beyond the blocks
            of the text tower, MaPLe's vectors feed the image tower alone.
    """

    kind: str
    template: str = "a photo of a {}."
    n_context: int = 0
    n_visual: int = 0
    depth: int = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"adaptation {self.kind!r} does not exist; write {', '.join(KINDS)}.")
        if self.template.count("{}") != 1:
            raise ValueError(f"template {self.template!r} needs one {{}} for the class name.")
        if min(self.n_context, self.n_visual) < 0 or self.depth < 1:
            raise ValueError(
                f"n_context and n_visual must be at least 0 and depth at least 1: {self}."
            )
        if self.kind not in (COOP, MAPLE) and self.n_context:
            raise ValueError(f"{self.kind!r} learns no text, so n_context is 0: {self}.")
        if self.kind not in (VPT, MAPLE) and self.n_visual:
            raise ValueError(f"{self.kind!r} learns no visual tokens, so n_visual is 0: {self}.")
        if self.kind == MAPLE and self.n_visual != self.n_context:
            raise ValueError(f"maple's visual tokens come from its context, one of each: {self}.")


class Prompts(nn.Module):
    """The learned tensors of a `PromptSpec`, initialised from `seed`.

    Args:
        text_width, d_model: widths of the two towers.
        words: the embeddings of the template's first words [n_context, text_width], the start of
            the first block's context; None draws them like all others, normal with spread 0.02.
    """

    SPREAD = 0.02

    def __init__(
        self,
        spec: PromptSpec,
        text_width: int,
        d_model: int,
        *,
        seed: int = 0,
        words: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.spec, self.text_width, self.d_model = spec, text_width, d_model
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> nn.Parameter:
            return nn.Parameter(self.SPREAD * torch.randn(*shape, generator=generator))

        depth = 1 if spec.kind == COOP else spec.depth
        if spec.kind in (COOP, MAPLE):
            self.context = normal(depth, spec.n_context, text_width)
            if words is not None:
                self.context.data[0] = words
        if spec.kind == VPT:
            self.visual = normal(depth, spec.n_visual, d_model)
        if spec.kind == MAPLE:
            bound = text_width**-0.5  # as a linear layer starts
            shape = (depth, d_model, text_width)
            weight = (2 * torch.rand(*shape, generator=generator) - 1) * bound
            self.coupling = nn.Parameter(weight)
            self.coupling_bias = nn.Parameter(
                (2 * torch.rand(depth, d_model, generator=generator) - 1) * bound
            )

    def text_prompts(self) -> Tensor:
        """[depth, n_context, text_width]: entry i stands in the text tower before block i."""
        if self.spec.kind in (COOP, MAPLE):
            return self.context
        return torch.zeros(1, 0, self.text_width)

    def visual_prompts(self) -> Tensor:
        """[depth, n_visual, d_model]: entry i stands in the image tower before block i."""
        if self.spec.kind == VPT:
            return self.visual
        if self.spec.kind == MAPLE:
            mapped = torch.einsum("lnt,ldt->lnd", self.context, self.coupling)
            return mapped + self.coupling_bias.unsqueeze(1)
        return torch.zeros(1, 0, self.d_model)


def save_prompts(path: Path, prompts: Prompts, facts: dict[str, str] | None = None) -> None:
    """Write a .safetensors file of the tensors, their spec, and `facts` about the training."""
    widths = {"text_width": prompts.text_width, "d_model": prompts.d_model}
    header = {"spec": json.dumps(asdict(prompts.spec)), "widths": json.dumps(widths)}
    tensors = {name: value.detach().cpu() for name, value in prompts.state_dict().items()}
    write_bytes(Path(path), save(tensors, metadata=(facts or {}) | header))


def load_prompts(path: Path) -> Prompts:
    """Return the prompts of a file that `save_prompts` wrote, frozen; ValueError for others."""
    try:
        opened = safe_open(str(path), framework="pt")
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged, or no .safetensors file ({error}).") from error
    with opened as file:
        header = file.metadata() or {}
        if not {"spec", "widths"} <= header.keys():
            raise ValueError(
                f"{path} holds no prompts: its header has {sorted(header)}, but prompts need "
                "`spec` and `widths`. Name a file that this project's training wrote."
            )
        prompts = Prompts(PromptSpec(**json.loads(header["spec"])), **json.loads(header["widths"]))
        # The opened file is not a mapping, so list(file) would fail.
        prompts.load_state_dict({name: file.get_tensor(name) for name in list(file.keys())})
    return prompts.requires_grad_(False)
