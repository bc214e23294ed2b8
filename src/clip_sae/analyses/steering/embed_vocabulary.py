"""The vocabulary's words and their text embeddings.

A module of its own, so that a change of steering does not embed the words again.
"""

from collections.abc import Sequence
from pathlib import Path

from clip_sae.analyses.shared.models import load_model
from clip_sae.clip.vocabulary import EmbeddedVocabulary, read_vocabulary
from clip_sae.clip.zeroshot import NAMED_TEMPLATES, class_embeddings
from clip_sae.planning.inputs import ClipFiles


def embed_vocabulary(
    job,
    *,
    clip: ClipFiles,
    words: Path | str | Sequence[str],
    sha256: str | None,
    first: int | None,
    template: str,
) -> None:
    """Write the words and their unit embeddings [word, d_embed] (`EmbeddedVocabulary`).

    Args:
        words: the file, "demo", or the words.
        sha256: of the file; first: number of lines to use.
        template: a name of `NAMED_TEMPLATES`, or a text with {} for the word.
    """
    source = str(words) if isinstance(words, Path) else words
    read = read_vocabulary(source, sha256=sha256, first=first)
    model = load_model(job, clip)
    prompts = template if template in NAMED_TEMPLATES else [template]
    text = class_embeddings(model, read, prompts).cpu().numpy()
    EmbeddedVocabulary(tuple(read), text, model.logit_scale).save(job.output.path)
    job.log.info("%d words, logit scale %.2f", len(read), model.logit_scale)
    job.facts |= {"words": len(read), "logit_scale": model.logit_scale}
