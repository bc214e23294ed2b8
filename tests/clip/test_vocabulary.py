"""Word lists, accepted and refused, the sentence of each error, and embeddings on disk."""

import hashlib

import numpy as np
import pytest

from clip_sae.clip.vocabulary import (
    GOOGLE_20K_SHA256,
    EmbeddedVocabulary,
    VocabularyError,
    read_mask,
    read_vocabulary,
    word_list_sha256,
)
from clip_sae_demo.words import VOCABULARY


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "words.txt"
    file.write_bytes("\ufeffthe\r\nof \n\n Café\nof\nfire engine\nlast\n".encode())
    return file


def test_a_file_is_one_word_or_phrase_a_line_each_once_in_its_order(path):
    assert read_vocabulary(str(path)) == ["the", "of", "Café", "fire engine", "last"]
    assert read_vocabulary(str(path), first=4) == ["the", "of", "Café"]  # the first four lines


def test_the_demo_list_and_a_list_of_words():
    assert read_vocabulary("demo") == list(dict.fromkeys(VOCABULARY))
    assert read_vocabulary(["b", "a", "b"]) == ["b", "a"]
    assert {"dog", "red", "striped"} < set(read_vocabulary("demo"))


def test_the_hash_is_of_the_files_bytes(path):
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(read_vocabulary(str(path), sha256=sha256.upper())) == 5
    with pytest.raises(
        VocabularyError, match=f"has sha256 {sha256}, but the config requests {GOOGLE_20K_SHA256}"
    ):
        read_vocabulary(str(path), sha256=GOOGLE_20K_SHA256)


MISTAKES = {
    "no file": (
        lambda path: str(path) + "x",
        {},
        r"list .*txtx does not exist; .* one of: demo",
    ),
    "too few lines": (str, {"first": 8}, r"`first` requests 8 words, and the list has 7\. Lower"),
    "one word": (
        lambda _: ["a", " a "],
        {},
        "from a list holds 1 different words; .* at least two",
    ),
    "no words": (lambda _: [], {}, "holds 0 different words"),
    "separator": (lambda _: ["a|b", "c"], {}, r"'a\|b' holds '\|', which separates words"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_has_its_sentence(path, mistake):
    words, options, sentence = MISTAKES[mistake]
    with pytest.raises(VocabularyError, match=sentence):
        read_vocabulary(words(path), **options)


def test_another_encoding_is_an_error(tmp_path):
    (tmp_path / "latin.txt").write_bytes("caf\xe9\nthe\n".encode("latin-1"))
    with pytest.raises(VocabularyError, match=r"latin\.txt is not UTF-8 text: .*Save it as UTF-8"):
        read_vocabulary(str(tmp_path / "latin.txt"))


def test_the_hash_of_a_list_depends_on_its_words_and_their_order():
    assert word_list_sha256(["a", "b"]) == hashlib.sha256(b"a\nb\n").hexdigest()
    assert len({word_list_sha256(words) for words in (["a", "b"], ["b", "a"], ["ab"])}) == 3


def test_a_mask_is_lower_case_and_may_be_left_out(path):
    assert read_mask(None) == frozenset()
    assert read_mask(path) == {"the", "of", "café", "fire engine", "last"}
    with pytest.raises(VocabularyError, match="word list .* does not exist"):
        read_mask(path.with_name("none.txt"))


def embedded(n=3):
    text = np.arange(4 * n, dtype=np.float32).reshape(n, 4)
    return EmbeddedVocabulary(("a", "ü", "fire engine")[:n], text, 38.2)


def test_embeddings_come_back_and_are_the_same_bytes_again(tmp_path):
    for name in ("one", "two"):
        embedded().save(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    found = EmbeddedVocabulary.load(tmp_path / "one")
    assert found.words == ("a", "ü", "fire engine") and found.logit_scale == 38.2
    np.testing.assert_array_equal(found.text, embedded().text)


def test_embeddings_of_other_words_are_refused(tmp_path):
    vocabulary = embedded()
    for change in ({"words": np.array(["a", "b", "c"])}, {"text": vocabulary.text[:2]}):
        vocabulary.save(tmp_path / "v.npz")
        arrays = dict(np.load(tmp_path / "v.npz")) | change
        np.savez(tmp_path / "v.npz", **arrays)
        with pytest.raises(VocabularyError, match=r"v\.npz is damaged: .*Delete it"):
            EmbeddedVocabulary.load(tmp_path / "v.npz")
