"""A word-level tokenizer for small CLIPs such as the demo's: one id per known word.

The vocabulary lies next to the weights. An unknown word is an error and not an <unk>, because the
score of a concept that the model has never read would mean nothing.
"""

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

PAD, SOT, EOT = "<pad>", "<sot>", "<eot>"
CONTEXT_LENGTH = 24  # tokens, SOT and EOT included

# A run of letters or digits, or the learned-prefix star; all other characters separate.
_WORD = re.compile(r"[^\W_]+|\*")


def split_words(text: str) -> list[str]:
    """Return the lower-case words of a text without punctuation; "blond-haired" gives two."""
    return _WORD.findall(text.lower())


def build_vocabulary(texts: Iterable[str]) -> list[str]:
    """Return all words of some texts in id order: pad is 0, SOT 1, EOT the highest.

    open_clip reads a text's embedding at the largest id of its row, hence EOT comes last.
    """
    words = sorted({word for text in texts for word in split_words(text)})
    return [PAD, SOT, *words, EOT]


class WordTokenizer:
    """A callable like open_clip's tokenizers: texts to ids [text, token], padded with 0."""

    def __init__(self, vocabulary_path: str | Path, context_length: int = CONTEXT_LENGTH) -> None:
        self.path = Path(vocabulary_path)
        if not self.path.is_file():
            raise FileNotFoundError(
                f"no vocabulary at {self.path}; a CLIP with a word-level tokenizer needs the file "
                "vocabulary.json next to its weights"
            )
        self.words: list[str] = json.loads(self.path.read_text())
        if self.words[:2] != [PAD, SOT] or self.words[-1] != EOT:
            raise ValueError(
                f"{self.path} is not a vocabulary of words: it must be a JSON list that "
                f"starts with {PAD!r}, {SOT!r} and ends with {EOT!r}"
            )
        self.ids = {word: idx for idx, word in enumerate(self.words)}
        self.context_length = context_length
        self.pad_token_id = self.ids[PAD]
        self.sot_token_id = self.ids[SOT]
        self.eot_token_id = self.ids[EOT]

    @property
    def vocab_size(self) -> int:
        return len(self.words)

    def encode(self, text: str) -> list[int]:
        """Return the ids of the words, without SOT and EOT."""
        words = split_words(text)
        unknown = [word for word in dict.fromkeys(words) if word not in self.ids]
        if unknown:
            raise ValueError(self._explain_unknown(unknown, text))
        return [self.ids[word] for word in words]

    def decode(self, ids: Sequence[int] | torch.Tensor) -> str:
        """Return the words between SOT and EOT, joined by spaces."""
        special = {self.pad_token_id, self.sot_token_id, self.eot_token_id}
        return " ".join(self.words[int(idx)] for idx in ids if int(idx) not in special)

    def __call__(
        self, texts: str | Sequence[str], context_length: int | None = None
    ) -> torch.LongTensor:
        texts = [texts] if isinstance(texts, str) else list(texts)
        length = self.context_length if context_length is None else context_length
        tokens = torch.zeros(len(texts), length, dtype=torch.long)
        for row, text in zip(tokens, texts, strict=True):
            ids = [self.sot_token_id, *self.encode(text), self.eot_token_id]
            if len(ids) > length:
                raise ValueError(
                    f"text {text!r} takes {len(ids)} tokens (start and end included), the demo "
                    f"CLIP reads at most {length}; shorten the text"
                )
            row[: len(ids)] = torch.tensor(ids)
        return tokens

    def _explain_unknown(self, unknown: list[str], text: str) -> str:
        known = self.words[2:-1]
        hints = [
            f"{word!r} is near {', '.join(map(repr, near))}"
            for word in unknown
            if (near := difflib.get_close_matches(word, known, n=2))
        ]
        return (
            f"the demo CLIP does not know {', '.join(map(repr, unknown))} in the text {text!r}. "
            f"It knows {len(known)} words, listed in {self.path}. "
            + (f"Perhaps: {'; '.join(hints)}. " if hints else "")
            + "Use these words only, or choose a CLIP with a full vocabulary."
        )
