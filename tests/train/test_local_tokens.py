"""The bytes of tokens: they join to the text, whatever the tokenizer and wherever a token cuts a character."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

pytest.importorskip("transformers")

from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from cot_distill.logprobs import read_logprobs
from cot_distill.teachers._tokens import Prompt, completion_of, token_bytes
from cot_distill.teachers._worker import _tokens
from cot_distill.types import Completion

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(120)]

CORPUS = ["What is 17 + 25?", "17 and 25 make 42. Voilà → 42.", "<think>x</think> y", "日本語 のテキスト 👍🏽"]
ADDED = [AddedToken(tag, normalized=False) for tag in ("<think>", "</think>")]


def byte_level() -> Any:
    """GPT-2's kind: Qwen, Llama 3, DeepSeek…"""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet))
    made.add_tokens(ADDED)
    return PreTrainedTokenizerFast(tokenizer_object=made)


def sentence_pieces() -> Any:
    """Llama 2's kind: Mistral, Gemma… Bytes are spelt out where there is no piece."""
    letters = sorted(set("".join(CORPUS[:2])) - {" "})
    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *letters, "▁an", "an", "▁and"]
    merges = [("▁", "a"), ("a", "n"), ("▁", "an")]
    names = [*pieces, "▁a"]
    vocabulary = {name: number for number, name in enumerate(dict.fromkeys(names))}
    made = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    made.decoder = decoders.Sequence(steps)
    made.add_tokens(ADDED)
    return PreTrainedTokenizerFast(tokenizer_object=made)


TOKENIZERS = {"byte_level": byte_level(), "sentence_pieces": sentence_pieces()}
TEXTS = st.lists(st.sampled_from([*CORPUS, "<think>", "</think>", " ", "\n"]) | st.text(max_size=9), min_size=1)


def completion(tokenizer: Any, ids: list[int]) -> Completion:
    return completion_of(tokenizer, Prompt([1], False), ids, ended=False, model="m", latency=0.0)


@pytest.mark.parametrize("kind", TOKENIZERS)
@settings(deadline=None)
@given(parts=TEXTS)
def test_bytes_join_to_the_text(kind: str, parts: list[str]) -> None:
    tokenizer, text = TOKENIZERS[kind], "".join(parts)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    found = [token_bytes(tokenizer, token) for token in ids]
    assert None not in found
    joined = b"".join(part or b"" for part in found).decode()
    content = completion(tokenizer, ids).content
    assert joined in (content, f" {content}")
    if kind == "byte_level":
        assert joined == text


@pytest.mark.parametrize("kind", TOKENIZERS)
@settings(deadline=None)
@given(parts=TEXTS, length=st.integers(1, 30))
def test_cut_inside_of_a_character(kind: str, parts: list[str], length: int) -> None:
    """The text ends with the sign for what is unknown, and the tokens are aligned all the same."""
    from cot_distill.teachers._decoding import Answer

    tokenizer = TOKENIZERS[kind]
    ids = tokenizer("".join(parts), add_special_tokens=False)["input_ids"][:length]
    answer = Answer([1], 9, 0.0, 1.0, 0, None, 1, lambda: False, ids)  # type: ignore[arg-type]
    answer.chances, answer.tops = [-0.5] * len(ids), [([7], [-0.5])] * len(ids)
    made = completion_of(
        tokenizer, Prompt([1], False), ids, ended=False, logprobs=_tokens(answer), model="m", latency=0.0
    )
    found = read_logprobs(made)
    if not ids:
        return
    assert found is not None
    assert found.text is not None
    assert found.text.decode("utf-8", "replace") == made.content
    assert [token.said.id for token in found.tokens] == ids


def test_reasoning_tokens_end_with_the_tag() -> None:
    for tokenizer in TOKENIZERS.values():
        thought = tokenizer("<think>17 and 25 → 42.</think>", add_special_tokens=False)["input_ids"]
        said = tokenizer(" 42", add_special_tokens=False)["input_ids"]
        usage = completion(tokenizer, thought + said).usage
        assert (usage.reasoning_tokens, usage.answer_tokens) == (len(thought), len(said))


def test_another_kind_of_tokenizer_tells_no_bytes() -> None:
    """WordPiece: what its tokens stand for depends on their neighbours. Ids and log-probabilities are good."""
    words = {word: number for number, word in enumerate(["[UNK]", "what", "is", "##nt"])}
    made = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.decoder = decoders.WordPiece()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made)
    assert token_bytes(tokenizer, 1) is None
    assert completion(tokenizer, [1, 2, 3]).usage.reasoning_tokens is None


def test_every_byte_has_a_token() -> None:
    tokenizer = TOKENIZERS["byte_level"]
    known = {token_bytes(tokenizer, token) for token in range(len(tokenizer))}
    assert {bytes([byte]) for byte in itertools.chain(range(256))} <= known
