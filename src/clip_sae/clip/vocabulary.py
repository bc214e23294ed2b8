"""Word lists: the vocabulary that scores a steered embedding, and the words that figures hide.

Steering paper §6 (Eqs 4 to 11). Lists come from files, from the config and by name from plug-ins.
The authors' 5,000 words are the first lines of `20k.txt` of google-10000-english, whose terms do
not allow this project to ship it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clip_sae.npz import read_arrays, write_arrays
from clip_sae.planning.plugins import word_lists, words_of

SEPARATOR = "|"  # between words in a cell of a table
# Of the file that the authors' code reads: the value of `sha256` that accepts no other.
GOOGLE_20K_SHA256 = "4ed6e5336d7760d281f7e72df31827da880c361863e820d8c65666b0f10d9ac0"


class VocabularyError(ValueError):
    """A word list cannot be used; the text says what to change."""


@dataclass(frozen=True)
class EmbeddedVocabulary:
    """Words and their embeddings by a CLIP.

    Attributes:
        words: [word].
        text: unit text embeddings [word, d_embed], float32.
        logit_scale: factor on cosines before a softmax.
    """

    words: tuple[str, ...]
    text: np.ndarray
    logit_scale: float

    def save(self, path: Path) -> None:
        """Write an .npz file; the same vocabulary gives the same bytes."""
        arrays = {
            "words": np.array(self.words),
            "text": self.text,
            "logit_scale": np.float64(self.logit_scale),
            "word_list_sha256": np.array(word_list_sha256(self.words)),
        }
        write_arrays(path, arrays)

    @classmethod
    def load(cls, path: Path) -> "EmbeddedVocabulary":
        """Read a file of `save`; raise VocabularyError if its words are not the embedded ones."""
        arrays = read_arrays(path)
        words = tuple(arrays["words"].tolist())
        found = cls(words, arrays["text"], float(arrays["logit_scale"]))
        sha256 = str(arrays["word_list_sha256"])
        if word_list_sha256(words) != sha256 or len(found.text) != len(words):
            raise VocabularyError(
                f"{path} is damaged: its words differ from the embedded ones. Delete it and run "
                "snakemake again."
            )
        return found


def read_vocabulary(
    words: str | Sequence[str], *, sha256: str | None = None, first: int | None = None
) -> list[str]:
    """Return the words in their order, each once, without surrounding blanks and empty lines.

    Args:
        words: the name of a plug-in's list ("demo"), the path of a text file with one word or
            phrase a line (UTF-8), or the words.
        sha256: of the file's bytes, in hex; None accepts any file.
        first: use only the first so many lines (the authors: 5,000 of 20,000); None uses all.

    Raises VocabularyError for a missing file, another hash, and fewer than two words.
    """
    lines = _lines(words, sha256)
    if first is not None and len(lines) < first:
        raise VocabularyError(
            f"vocabulary {_name(words)}: `first` requests {first} words, and the list has "
            f"{len(lines)}. Lower `first`, or leave it out for all."
        )
    kept = list(dict.fromkeys(filter(None, map(str.strip, lines[:first]))))
    if len(kept) < 2:
        raise VocabularyError(
            f"vocabulary {_name(words)} holds {len(kept)} different words; a distribution over "
            "words needs at least two, one a line."
        )
    if barred := [word for word in kept if SEPARATOR in word]:
        raise VocabularyError(
            f"vocabulary {_name(words)}: {barred[0]!r} holds {SEPARATOR!r}, which separates words "
            "in the tables. Take it out of the list."
        )
    return kept


def word_list_sha256(words: Sequence[str]) -> str:
    """Return the sha256, in hex, of words written one a line; it identifies a vocabulary."""
    return hashlib.sha256("".join(f"{word}\n" for word in words).encode()).hexdigest()


def read_mask(path: str | Path | None) -> frozenset[str]:
    """Return the words, in lower case, that figures replace by dots; none for None."""
    if path is None:
        return frozenset()
    return frozenset(word.strip().lower() for word in _file_lines(Path(path), None) if word.strip())


def _lines(words: str | Sequence[str], sha256: str | None) -> list[str]:
    if not isinstance(words, str):
        return list(words)
    return words_of(words) if words in word_lists() else _file_lines(Path(words), sha256)


def _file_lines(path: Path, sha256: str | None) -> list[str]:
    if not path.is_file():
        raise VocabularyError(
            f"the word list {path} does not exist; write the path of a text file with one word a "
            f"line, or one of: {', '.join(word_lists())}. The authors' list is 20k.txt of the "
            "repository google-10000-english."
        )
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256.lower():
        raise VocabularyError(
            f"{path} has sha256 {found}, but the config requests {sha256}: it is another list or "
            "another version. Fetch the list again, or correct or remove `sha256`."
        )
    try:
        return content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise VocabularyError(f"{path} is not UTF-8 text: {error}. Save it as UTF-8.") from None


def _name(words: str | Sequence[str]) -> str:
    return repr(words) if isinstance(words, str) else "from a list"
