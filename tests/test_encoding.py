"""A sample as tokens: every part is exactly its tokens, and the loss falls on what the student has to say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given, reject
from hypothesis import strategies as st
from pydantic import ValidationError

pytest.importorskip("jinja2", reason="chat templates are Jinja: install the extra 'template'")

from cot_distill import formatters
from cot_distill.chat_parts import Parts, parts_reader
from cot_distill.encoding import IGNORED, Encoded, encode, encode_parts
from cot_distill.errors import ConfigError
from cot_distill.formatters.rendered import rendered
from cot_distill.jinja_template import JinjaTemplate
from cot_distill.trace import KNOWN_TAGS, split
from cot_distill.types import Sample, Task, Trace

SPECIAL = re.compile(r"(<\|\w+\|>|<｜[\w▁]+｜>|</?think>|</?s>)")
MERGED = sorted(
    (".\n", "\n\n", "\n\n ", ">\n\n", "\n ", "4<", "\n<", "  ", "2 and", " 2", "the"), key=len, reverse=True
)


class Merging:
    """Bytes, of which some that often go together are one token; and special tokens, as chat formats have them.

    The longest match wins, so that tokens reach across all kinds of seams. There are no offsets.
    """

    bos_token = "<s>"

    def __init__(self, template: str, *, special: bool = True, adds_bos: bool = False) -> None:
        self.template = JinjaTemplate(template)
        self.special = special
        self.adds_bos = adds_bos
        self.vocabulary: list[bytes] = [bytes([value]) for value in range(256)]
        self.vocabulary += [text.encode() for text in MERGED]

    def apply_chat_template(self, conversation: Any, **options: Any) -> str:
        return self.template.apply_chat_template(conversation, **options)

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        ids = [self.of(self.bos_token)] if self.adds_bos and add_special_tokens else []
        for number, piece in enumerate(SPECIAL.split(text) if self.special else [text]):
            ids += [self.of(piece)] if number % 2 else self.merged(piece)
        return ids

    def merged(self, text: str) -> list[int]:
        ids = []
        while text:
            merge = next((merge for merge in MERGED if text.startswith(merge)), None)
            ids += list(text[0].encode()) if merge is None else [self.of(merge)]
            text = text[1 if merge is None else len(merge) :]
        return ids

    def of(self, token: str) -> int:
        if token.encode() not in self.vocabulary:
            self.vocabulary.append(token.encode())
        return self.vocabulary.index(token.encode())

    def decode(self, ids: tuple[int, ...]) -> str:
        return b"".join(self.vocabulary[token] for token in ids).decode()


class Spaced(Merging):
    """Puts a space before any text, as those of the SentencePiece kind do."""

    def merged(self, text: str) -> list[int]:
        return super().merged(f" {text}") if text else []


FOLDER = Path(__file__).parent / "chat_templates"
TEMPLATES = {path.stem: path.read_text("utf-8") for path in FOLDER.glob("*.jinja")}
PLAIN = (  # no special token anywhere, and a prompt that ends where tokens like to merge
    "{% for turn in messages %}[{{ turn.role }}]\n{{ turn.content }}\n\n [end]\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]\n{% endif %}"
)


def working(name: str, tokenizer: Any) -> Any:
    """The formatter that check_template advises; its own tests show that it does."""
    found = {"gpt_oss": formatters.messages(thinking="thinking"), "deepseek_r1_distill": rendered(tokenizer)}
    return found.get(name, formatters.messages)


def assert_exact(tokenizer: Any, encoded: Encoded, parts: Parts) -> None:
    spans = encoded.spans
    assert len(encoded.labels) == len(encoded.ids)
    assert tuple(tokenizer.decode(encoded.ids[span]) for span in spans) == parts[:4]
    assert tokenizer.decode(encoded.ids) == "".join(parts)
    assert [spans[0].start, *(span.start for span in spans[1:])] == [0, *(span.stop for span in spans[:-1])]
    learnt = slice(spans.think.start, spans.eos.stop)
    assert encoded.labels[learnt] == encoded.ids[learnt]
    assert set(encoded.labels[: learnt.start] + encoded.labels[learnt.stop :]) <= {IGNORED}


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1) | st.text(
    "a .4<>\n\t \x0b\u2028\u00e9\u4e2d😀", min_size=1
)


def sample_of(question: str, reasoning: str, answer: str) -> Sample:
    return Sample(task=Task(instruction=question), trace=Trace(reasoning=reasoning, answer=answer))


def any_sample_of(question: str, reasoning: str, answer: str) -> Sample:
    assume(not SPECIAL.search(question + reasoning + answer))
    try:
        return sample_of(question, reasoning, answer)
    except ValidationError:  # blank, say
        reject()


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("name", TEMPLATES)
@given(question=texts, reasoning=texts, answer=texts)
@example(question="2 + 2?", reasoning="2 and 2 make 4.", answer="4")
@example(question="a", reasoning="a", answer="a")
@example(question="think", reasoning=" \u0301.", answer=" 4")
@example(question="(4)", reasoning="<|", answer="\t.")
def test_spans_are_exact(name: str, special: bool, question: str, reasoning: str, answer: str) -> None:
    sample = any_sample_of(question, reasoning, answer)
    tokenizer = Merging(TEMPLATES[name], special=special)
    formatter = working(name, tokenizer)
    parts = parts_reader(tokenizer, formatter)(sample).parts
    assert parts is not None
    encoded = encode(tokenizer, sample, formatter=formatter)
    assert_exact(tokenizer, encoded, parts)
    assert list(encoded.ids[encoded.spans.prompt]) == tokenizer.encode(parts.prompt, add_special_tokens=False)
    trained = tokenizer.decode(tuple(label for label in encoded.labels if label != IGNORED))
    tags = KNOWN_TAGS["harmony" if name == "gpt_oss" else "think"]
    assume(tags.close not in reasoning + answer)
    learnt = split(trained.removesuffix(parts.end), tags=tags, prefilled=name == "deepseek_r1_distill")
    expected = sample.trace
    if name == "llama3_1":  # this one trims
        expected = Trace(reasoning=expected.reasoning, answer=expected.answer.rstrip())
    assert learnt == expected


@given(reasoning=texts, answer=texts)
@example(reasoning=" 4", answer=" 4")
def test_spans_are_exact_where_tokens_reach_across_every_seam(reasoning: str, answer: str) -> None:
    sample = any_sample_of("2 + 2?", reasoning, answer)
    tokenizer = Merging(PLAIN, special=False)
    encoded = encode(tokenizer, sample)
    frame = tokenizer.apply_chat_template([{"role": "user", "content": "2 + 2?"}], add_generation_prompt=True)
    think = f"<think>\n{sample.trace.reasoning}\n</think>\n\n"
    assert_exact(tokenizer, encoded, Parts(frame, think, sample.trace.answer, "\n\n [end]", "\n"))


def test_tokens_are_those_of_the_whole_text_unless_one_reaches_across() -> None:
    tokenizer = Merging(TEMPLATES["qwen2_5"])
    sample = sample_of("2 + 2?", "2 and 2 make 4.", "It is 4.")
    text = tokenizer.apply_chat_template(formatters.messages(sample)["messages"])
    encoded = encode(tokenizer, sample)
    assert list(encoded.ids) == tokenizer.encode(text, add_special_tokens=False)
    assert (
        tokenizer.of(".\n") in encoded.ids[encoded.spans.think]
    )  # inside a part, tokens are as the student has them
    assert tokenizer.of("\n\n") in encoded.ids[encoded.spans.think]
    indented = sample_of("2 + 2?", "2 and 2 make 4.", " 4.")
    text = tokenizer.apply_chat_template(formatters.messages(indented)["messages"])
    assert tokenizer.of("\n\n ") in tokenizer.encode(text)
    encoded = encode(tokenizer, indented)
    assert tokenizer.of("\n\n ") not in encoded.ids
    assert tokenizer.decode(encoded.ids[encoded.spans.answer]) == " 4."


def test_labels_begin_behind_what_the_generation_prompt_holds() -> None:
    tokenizer = Merging(TEMPLATES["deepseek_r1_distill"])
    sample = sample_of("2 + 2?", "  2 and 2", "4")
    encoded = encode(tokenizer, sample, formatter=rendered(tokenizer))
    assert tokenizer.decode(encoded.ids[encoded.spans.prompt]).endswith("<｜Assistant｜><think>\n")
    learnt = tuple(label for label in encoded.labels if label != IGNORED)
    assert tokenizer.decode(learnt) == "  2 and 2\n</think>\n\n4<｜end▁of▁sentence｜>"
    assert tokenizer.of("\n ") not in encoded.ids  # it would be half prompt, half thought


def test_a_text_in_the_middle_gets_no_space_of_its_own() -> None:
    tokenizer = Spaced(PLAIN, special=False)
    sample = sample_of("2 + 2?", " 4", " 4")
    whole = tokenizer.decode(encode(tokenizer, sample).ids)
    assert whole == f" {tokenizer.apply_chat_template(formatters.messages(sample)['messages'])}"


@pytest.mark.parametrize("name", ["deepseek_r1_distill", "llama3_1"])
@pytest.mark.parametrize("adds_bos", [True, False])
def test_the_first_token_is_there_once(adds_bos: bool, name: str) -> None:
    tokenizer = Merging(TEMPLATES[name], adds_bos=adds_bos)
    sample = sample_of("2 + 2?", "2 and 2", "4")
    row = rendered(tokenizer)(sample)
    assert row["prompt"].startswith("<s>") is not adds_bos  # then the tokenizer brings it
    assert tokenizer.decode(tuple(tokenizer.encode(row["prompt"]))).count("<s>") == 1
    encoded = encode(tokenizer, sample, formatter=rendered(tokenizer))
    assert list(encoded.ids[encoded.spans.prompt]) == tokenizer.encode(row["prompt"])
    assert encoded.ids.count(tokenizer.of("<s>")) == 1


def test_without_an_end_its_span_is_empty() -> None:
    tokenizer = Merging(PLAIN.replace("\n\n [end]\n", "\n"))
    encoded = encode(tokenizer, sample_of("2 + 2?", "2 and 2", "4"))
    assert encoded.spans.eos.start == encoded.spans.eos.stop == len(encoded.ids) - 1
    assert encoded.labels[-1] == IGNORED


def test_parts_may_be_empty() -> None:
    encoded = encode_parts(Merging(PLAIN), Parts("", "a", "b", "", ""))
    assert encoded.labels == encoded.ids == (97, 98)
    assert encoded.spans == (slice(0, 0), slice(0, 1), slice(1, 2), slice(2, 2))


def test_a_template_that_loses_the_trace_is_refused_with_what_works() -> None:
    tokenizer = Merging(TEMPLATES["deepseek_r1_distill"])
    sample = Sample(task=Task(id=7, instruction="2 + 2?"), trace=Trace(reasoning="2 and 2", answer="4"))
    words = r"task 7: the chat template drops the reasoning. Use formatters.rendered\(tokenizer\), which keeps it."
    with pytest.raises(ConfigError, match=words):
        encode(tokenizer, sample)
    with pytest.raises(ConfigError, match=r'Use formatters.messages\(thinking="thinking"\)'):
        encode(Merging(TEMPLATES["gpt_oss"]), sample)


def test_encoded_is_frozen() -> None:
    encoded = encode(Merging(PLAIN), sample_of("2 + 2?", "2 and 2", "4"))
    with pytest.raises(AttributeError):
        encoded.ids = ()  # type: ignore[misc]
