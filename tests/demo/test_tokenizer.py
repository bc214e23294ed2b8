"""The word tokenizer: exact ids, EOT the highest, and errors that say what to do."""

import open_clip
import pytest
import torch

from clip_sae.clip.tokenizer import WordTokenizer, split_words
from clip_sae_demo.model import demo_vocabulary
from clip_sae_demo.words import VOCABULARY


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> WordTokenizer:
    import json

    path = tmp_path_factory.mktemp("tokenizer") / "vocabulary.json"
    path.write_text(json.dumps(demo_vocabulary()))
    return WordTokenizer(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A photo of a Cat.", ["a", "photo", "of", "a", "cat"]),
        ('the "sun" (small), non-blond', ["the", "sun", "small", "non", "blond"]),
        ("* x x cat", ["*", "x", "x", "cat"]),
        ("blond_hair", ["blond", "hair"]),
    ],
)
def test_words_are_split_and_lowered(text, words):
    assert split_words(text) == words


def test_rows_are_sot_words_eot_padding(tokenizer):
    tokens = tokenizer(["a cat", "cat"])
    assert tokens.shape == (2, 24) and tokens.dtype == torch.long
    a, cat = tokenizer.ids["a"], tokenizer.ids["cat"]
    sot, eot = tokenizer.sot_token_id, tokenizer.eot_token_id
    assert tokens[0, :5].tolist() == [sot, a, cat, eot, 0]
    assert tokens[1, :4].tolist() == [sot, cat, eot, 0]


def test_eot_has_the_highest_id(tokenizer):
    """open_clip pools a text at the argmax of its ids."""
    assert tokenizer.eot_token_id == tokenizer.vocab_size - 1
    assert tokenizer(["a red cat"]).argmax(dim=1).item() == 4


def test_a_string_is_one_text(tokenizer):
    assert torch.equal(tokenizer("a cat"), tokenizer(["a cat"]))


def test_round_trip(tokenizer):
    text = "a red cat on a dotted background"
    assert tokenizer.decode(tokenizer(text)[0]) == text


def test_context_length_can_be_chosen(tokenizer):
    assert tokenizer("a cat", context_length=8).shape == (1, 8)


def test_imagenet_templates_take_every_concept(tokenizer):
    for template in open_clip.OPENAI_IMAGENET_TEMPLATES:
        tokenizer([template(word) for word in VOCABULARY[:3]])
    tokenizer(list(VOCABULARY))


@pytest.mark.parametrize(
    "prompt",
    [
        "This is a picture of a landbird.",
        "a photo of a waterbird.",
        "A photo of a celebrity with dark hair.",
        "a photo of a celebrity with blond hair",
        "a man with blonde hair",
        "Non-blond female",
        "a photo of a bird in the forest",
        "a photo of a bird on the ocean",
        "a photo of a * cat.",
        "x x x x x x x x x x x x x x x x landbird.",
        "the written word crown",
    ],
)
def test_prompts_of_the_papers_are_known(tokenizer, prompt):
    tokenizer(prompt)


def test_unknown_words_are_all_named(tokenizer):
    with pytest.raises(ValueError) as error:
        tokenizer(["a cat", "a tabby cats quaffing"])
    message = str(error.value)
    for part in ("'tabby'", "'cats'", "'quaffing'", "'a tabby cats quaffing'", "near 'cat'"):
        assert part in message
    assert str(tokenizer.path) in message


def test_too_long_text_gives_both_numbers(tokenizer):
    with pytest.raises(ValueError, match=r"takes 32 tokens .* at most 24"):
        tokenizer("cat " * 30)


def test_missing_vocabulary_is_explained(tmp_path):
    with pytest.raises(FileNotFoundError, match="next to its weights"):
        WordTokenizer(tmp_path / "vocabulary.json")


def test_foreign_vocabulary_is_refused(tmp_path):
    (tmp_path / "vocabulary.json").write_text('["a", "b"]')
    with pytest.raises(ValueError, match="not a vocabulary of words"):
        WordTokenizer(tmp_path / "vocabulary.json")
