"""With real tokenizers of several kinds: what is encoded is what TRL trains on, and every span is exact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

trl = pytest.importorskip("trl")

from hypothesis import assume, given, reject, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from pydantic import ValidationError  # noqa: E402
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers  # noqa: E402
from transformers import PreTrainedTokenizerFast  # noqa: E402
from trl import SFTConfig, SFTTrainer  # noqa: E402

from cot_distill import Run, Sample, Task, Trace, formatters, writers  # noqa: E402
from cot_distill.chat_parts import parts_reader  # noqa: E402
from cot_distill.encoding import IGNORED, encode  # noqa: E402
from cot_distill.formatters.rendered import rendered  # noqa: E402
from cot_distill.jinja_template import JinjaTemplate  # noqa: E402
from cot_distill.template_check import check_template  # noqa: E402
from cot_distill.trace import KNOWN_TAGS, split  # noqa: E402

# Of these packages, which warn about themselves and one another.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(120)]

FOLDER = Path(__file__).parents[1] / "chat_templates"
NAMES = sorted(path.stem for path in FOLDER.glob("*.jinja"))
TRL = Path(trl.__file__).parent / "chat_templates"

# As the tokenizers of Qwen part words: line breaks go with the signs before them, spaces with the word behind.
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = [
    *("<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    *("<|start|>", "<|message|>", "<|channel|>", "<|end|>", "<|return|>"),
    *("<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>", "<s>", "<pad>"),
]
ENDS = {
    "qwen2_5": "<|im_end|>",
    "qwen3": "<|im_end|>",
    "llama3_1": "<|eot_id|>",
    "gpt_oss": "<|return|>",
    "deepseek_r1_distill": "<｜end▁of▁sentence｜>",
}
TEXTS = [
    "2 and 2 make 4.\n\nSo the answer is 4.\n</think>\n\n  The answer is 4.\n<think>\nLet me see.\n",
    "def f(x):\n    return x\n</think>\n\nOk.\n\n  - one\n  - two\n",
] * 40


def byte_level(words: str | None) -> Any:
    """Bytes, merged inside what the expression takes for a word; None for that of GPT-2."""
    made = Tokenizer(models.BPE())
    steps = [] if words is None else [pre_tokenizers.Split(Regex(words), "isolated")]
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [*steps, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=words is None)]
    )
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False)
    )
    return made


def sentence_piece(scheme: str) -> Any:
    """A space before any text, words with the space before them, and bytes for what is not known."""
    made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=True)
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ["<unk>", *(f"<0x{value:02X}>" for value in range(256))]
    made.train_from_iterator(
        [text.replace("\n", " ") for text in TEXTS],
        trainers.BpeTrainer(vocab_size=400, special_tokens=special, show_progress=False),
    )
    return made


KINDS = {
    "qwen": lambda: byte_level(WORDS),
    "gpt2": lambda: byte_level(None),
    "sentencepiece": lambda: sentence_piece("first"),
    "legacy": lambda: sentence_piece("always"),  # a space after every special token, too
}


def tokenizer_of(kind: str, name: str, *, tags: bool = True, adds_bos: bool = False) -> Any:
    made = KINDS[kind]()
    if tags:
        made.add_tokens([AddedToken(tag, normalized=False) for tag in ("<think>", "</think>")])
    made.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL])
    if adds_bos:
        made.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", made.token_to_id("<s>"))]
        )
    template = (FOLDER / f"{name}.jinja").read_text("utf-8")
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token=ENDS[name], bos_token="<s>", chat_template=template
    )


def advised(tokenizer: Any, sample: Sample) -> Any:
    code = check_template(tokenizer, [sample]).advice or "formatters.prompt_completion"
    if code == "formatters.rendered(tokenizer)":
        return rendered(tokenizer)
    return eval(code.replace("formatters.messages", "formatters.prompt_completion"), {"formatters": formatters})


SAMPLE = Sample(
    task=Task(id=7, instruction="2 + 2?"), trace=Trace(reasoning="2 and 2 make 4.", answer="The answer is 4.")
)
INDENTED = Sample(
    task=Task(id=8, instruction="2 + 2?", system="Be kind."),
    trace=Trace(reasoning="  2\n\n    and 2.", answer="  - 4."),
)


@pytest.mark.parametrize("name", NAMES)
def test_a_template_as_text_is_rendered_as_the_tokenizer_renders_it(name: str) -> None:
    tokenizer = tokenizer_of("qwen", name)
    template = JinjaTemplate(tokenizer.chat_template, bos_token="<s>", eos_token=ENDS[name])
    for sample in (SAMPLE, INDENTED):
        for formatter in (formatters.messages, formatters.messages(thinking="thinking")):
            turns = formatter(sample)["messages"]
            if name == "qwen3" and formatter is not formatters.messages:
                continue  # transformers 5 gives the reasoning to the template under every name
            for more in ({"add_generation_prompt": True}, {}):
                mine = template.apply_chat_template(turns, tokenize=False, **more)
                assert mine == tokenizer.apply_chat_template(turns, tokenize=False, **more)


@pytest.mark.parametrize("original", sorted(path.stem for path in TRL.glob("*.jinja")))
def test_original_templates_are_rendered_as_transformers_renders_them(original: str) -> None:
    tokenizer = tokenizer_of("qwen", "qwen2_5")
    tokenizer.chat_template = (TRL / f"{original}.jinja").read_text("utf-8")
    template = JinjaTemplate(tokenizer.chat_template, **tokenizer.special_tokens_map)
    turns = formatters.messages(SAMPLE)["messages"]
    results: list[str | None] = []
    for student in (template, tokenizer):
        try:
            results.append(student.apply_chat_template(turns, tokenize=False))
        except Exception:  # some take no plain strings; then both must say so
            results.append(None)
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("original", "kind"),
    [
        ("qwen2_5", None),
        ("qwen3", None),
        ("qwen3_5_think", None),
        ("qwen3_5_nothink", "closed"),
        ("qwen3_8", "doubled"),
        ("qwen3_8_training", "doubled"),
        ("llama3_1", None),
        ("glm4moe", "endless"),
        ("gptoss", "misplaced"),
        ("deepseek_r1_distill", "dropped"),
        ("deepseek_r1_distill_training", None),
    ],
)
def test_what_original_templates_do_is_found(original: str, kind: str | None) -> None:
    tokenizer = tokenizer_of("qwen", "qwen2_5")
    tokenizer.chat_template = (TRL / f"{original}.jinja").read_text("utf-8")
    report = check_template(tokenizer, [SAMPLE])
    assert [problem.kind for problem in report.problems[:1]] == ([] if kind is None else [kind])
    helped = {
        "doubled": 'formatters.messages(thinking="reasoning_content")',
        "dropped": "formatters.rendered(tokenizer)",
    }
    helped["misplaced"] = helped["doubled"]  # transformers 5 hands it on as `thinking`
    assert report.advice == helped.get(kind or "")


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1) | st.text("a .4<>\n\t ()é中😀", min_size=1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tags", [True, False])
def test_spans_are_exact(kind: str, name: str, tags: bool) -> None:
    tokenizer = tokenizer_of(kind, name, tags=tags)
    formatter = advised(tokenizer, SAMPLE)
    read = parts_reader(tokenizer, formatter)

    def as_decoded(text: str) -> str:
        return text.replace(" ", "").replace("▁", "") if kind == "legacy" else text.replace("▁", " ")

    def decode(ids: Any) -> str:
        return tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)

    @settings(max_examples=40, deadline=None)
    @given(reasoning=texts, answer=texts)
    def check(reasoning: str, answer: str) -> None:
        assume(not any(token in reasoning + answer for token in (*SPECIAL, "▁")))
        try:
            sample = Sample(task=Task(instruction="2 + 2?"), trace=Trace(reasoning=reasoning, answer=answer))
        except ValidationError:
            reject()
        parts = read(sample).parts
        assert parts is not None
        encoded = encode(tokenizer, sample, formatter=formatter)
        ids, labels, spans = encoded.ids, encoded.labels, encoded.spans
        if kind in ("qwen", "gpt2"):
            assert tuple(decode(ids[span]) for span in spans) == parts[:4]
        else:  # a part by itself loses the space that its first token has, so read it behind what comes before
            ends = [decode(ids[: span.stop]) for span in spans]
            seen = [end[len(start) :] for start, end in zip(["", *ends], ends, strict=False)]
            assert [as_decoded(text) for text in seen] == [as_decoded(part) for part in parts[:4]]
            assert list(ids) == tokenizer.encode("".join(parts), add_special_tokens=False)  # nothing had to be cut
        assert list(ids[spans.prompt]) == tokenizer.encode(parts.prompt, add_special_tokens=False)
        learnt = slice(spans.think.start, spans.eos.stop)
        assert labels[learnt] == ids[learnt]
        assert set(labels[: learnt.start] + labels[learnt.stop :]) <= {IGNORED}

    check()


def test_tokens_agree_with_the_offsets_of_the_tokenizer() -> None:
    tokenizer = tokenizer_of("qwen", "qwen3")
    encoded = encode(tokenizer, SAMPLE)
    parts = parts_reader(tokenizer, formatters.messages)(SAMPLE).parts
    assert parts is not None
    whole = tokenizer("".join(parts), add_special_tokens=False, return_offsets_mapping=True)
    assert list(encoded.ids) == whole["input_ids"]
    starts = [start for start, _ in whole["offset_mapping"]]
    place = 0
    for span, part in zip(encoded.spans, parts, strict=False):
        assert starts.index(place) == span.start
        place += len(part)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("adds_bos", [False, True])
def test_it_is_what_trl_trains_on(name: str, adds_bos: bool, run: Run, model: Any, settings: Any) -> None:
    tokenizer = tokenizer_of("qwen", name, adds_bos=adds_bos)
    samples = list(run.samples())[:12]
    formatter = advised(tokenizer, samples[0])
    model.resize_token_embeddings(len(tokenizer))
    dataset = writers.hugging_face()(map(formatter, samples))
    config = SFTConfig(max_length=None, **settings)
    rows = SFTTrainer(model, args=config, train_dataset=dataset, processing_class=tokenizer).train_dataset
    tags = KNOWN_TAGS["harmony" if name == "gpt_oss" else "think"]
    for sample, row in zip(samples, rows, strict=True):
        encoded = encode(tokenizer, sample, formatter=formatter)
        ids, labels, spans = encoded.ids, encoded.labels, encoded.spans
        assert row["input_ids"] == list(ids)
        masked = row["labels"]
        assert masked[: spans.eos.stop] == list(labels[: spans.eos.stop])  # TRL trains the last line break as well
        trained = tokenizer.decode([label for label in labels if label != IGNORED])
        said = trained.removesuffix(ENDS[name])
        assert said != trained
        assert split(said, tags=tags, prefilled=name == "deepseek_r1_distill") == sample.trace
