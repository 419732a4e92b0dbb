"""A check of a chat template says what becomes of a trace, and what it advises works."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("jinja2", reason="chat templates are Jinja: install the extra 'template'")

from cot_distill import formatters
from cot_distill.chat_parts import parts_reader
from cot_distill.errors import ConfigError
from cot_distill.formatters.rendered import rendered
from cot_distill.jinja_template import JinjaTemplate
from cot_distill.template_check import check_template, refuse_lost
from cot_distill.trace import KNOWN_TAGS, split
from cot_distill.types import Message, Row, Sample, Task, Trace

TEMPLATES = {
    path.stem: path.read_text("utf-8") for path in (Path(__file__).parent / "chat_templates").glob("*.jinja")
}
TRACE = Trace(reasoning="2 and 2\nmake 4.", answer="It is 4.")
SINGLE = Sample(task=Task(id=7, instruction="2 + 2?"), trace=TRACE)
WITH_SYSTEM = Sample(task=Task(id=8, instruction="2 + 2?", system="Be kind."), trace=TRACE)
CONVERSATION = Sample(
    task=Task(
        id=9,
        messages=(
            Message(role="user", content="1 + 1?"),
            Message(role="assistant", content="<think>\nOne and one.\n</think>\n\n2"),
            Message(role="user", content="2 + 2?"),
        ),
    ),
    trace=TRACE,
)
SAMPLES = [SINGLE, WITH_SYSTEM, CONVERSATION]

TURNS = "{% for turn in messages %}<{{ turn.role }}>{{ turn.content }}<end>{% endfor %}"
OPEN = "{% if add_generation_prompt %}<assistant>{% endif %}"


def made(code: str, tokenizer: Any) -> Any:
    """The formatter that a piece of advice names."""
    known = SimpleNamespace(**{**vars(formatters), "rendered": rendered})
    return eval(code, {"formatters": known, "tokenizer": tokenizer})


# --- the five kinds of template ---


@pytest.mark.parametrize(
    ("name", "kind", "opened", "advice"),
    [
        ("qwen2_5", None, None, None),
        ("qwen3", None, None, None),
        ("llama3_1", None, None, None),
        ("gpt_oss", "misplaced", None, 'formatters.messages(thinking="thinking")'),
        ("deepseek_r1_distill", "dropped", "<think>", "formatters.rendered(tokenizer)"),
    ],
)
def test_what_the_default_layout_becomes(name: str, kind: str | None, opened: str | None, advice: str | None) -> None:
    report = check_template(TEMPLATES[name], SAMPLES)
    assert (report.rows, report.ok, report.opened, report.advice) == (3, kind is None, opened, advice)
    if kind is not None:
        assert getattr(report, kind) == 3
        assert report.problems[0].kind == kind
        assert report.problems[0].tasks == (7, 8, 9)


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("sample", SAMPLES)
def test_what_is_advised_trains_the_whole_trace(name: str, sample: Sample) -> None:
    template = JinjaTemplate(TEMPLATES[name])
    code = check_template(template, [sample]).advice or "formatters.messages"
    formatter = made(code, template)
    assert check_template(template, SAMPLES, formatter=formatter).ok
    parts, flaws, trained, opened = parts_reader(template, formatter)(sample)
    assert parts is not None
    assert not flaws
    assert trained == parts.think + parts.answer + parts.end + parts.rest
    tags = KNOWN_TAGS["harmony" if name == "gpt_oss" else "think"]
    assert split(parts.think + parts.answer, tags=tags, prefilled=opened is not None) == TRACE
    question = [turn.model_dump() for turn in sample.task.prompt()]
    assert parts.prompt == template.apply_chat_template(question, add_generation_prompt=True)
    assert parts.end in ("<|im_end|>", "<|eot_id|>", "<|return|>", "<｜end▁of▁sentence｜>")


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("field", ["reasoning_content", "thinking"])
def test_fields_that_are_not_read(name: str, field: formatters.Thinking) -> None:
    report = check_template(TEMPLATES[name], SAMPLES, formatter=formatters.messages(thinking=field))
    is_read = (name, field) in {("qwen3", "reasoning_content"), ("gpt_oss", "thinking")}
    assert report.dropped == (0 if is_read else 3)


def test_the_report_tells_people_what_to_do() -> None:
    text = str(check_template(TEMPLATES["deepseek_r1_distill"], SAMPLES))
    assert "3 rows: the chat template drops the reasoning (task 7, 8, 9)" in text
    assert "opens <think>: the loss begins behind it" in text
    assert r"'\n\nIt is 4.<｜end▁of▁sentence｜>'" in text
    assert "Use formatters.rendered(tokenizer)" in text
    assert "1 row through the chat template: all well" in str(check_template(TEMPLATES["qwen3"], [SINGLE]))


def test_a_report_raises_if_there_is_something_to_raise() -> None:
    check_template(TEMPLATES["qwen3"], [SINGLE]).raise_for_problems()
    with pytest.raises(ConfigError, match="channel of the answer"):
        check_template(TEMPLATES["gpt_oss"], [SINGLE]).raise_for_problems()


# --- every layout ---


@pytest.mark.parametrize(
    "formatter",
    [
        formatters.messages,
        formatters.prompt_completion,
        formatters.prompt_completion(thinking="reasoning_content"),
        formatters.alpaca(system=True),
        formatters.sharegpt,
        formatters.text(JinjaTemplate(TEMPLATES["qwen3"])),
        rendered(JinjaTemplate(TEMPLATES["qwen3"])),
    ],
)
@pytest.mark.parametrize("sample", [SINGLE, WITH_SYSTEM])
def test_layouts_come_to_the_same(formatter: Any, sample: Sample) -> None:
    read = parts_reader(JinjaTemplate(TEMPLATES["qwen3"]), formatter)
    expected = parts_reader(JinjaTemplate(TEMPLATES["qwen3"]), formatters.messages)(sample).parts
    assert expected is not None
    found = read(sample)
    assert not found.flaws
    assert found.parts is not None
    assert found.parts[:4] == expected[:4]


@pytest.mark.parametrize(
    ("formatter", "advice"),
    [
        (formatters.prompt_completion(thinking="reasoning"), "formatters.prompt_completion"),
        (formatters.messages(thinking="reasoning"), "formatters.messages"),
        (formatters.prompt_completion(plain=True), "formatters.prompt_completion"),
    ],
)
def test_advice_is_as_near_as_may_be(formatter: Any, advice: str) -> None:
    assert check_template(TEMPLATES["qwen3"], [SINGLE], formatter=formatter).advice == advice


def test_advice_for_text() -> None:
    template = JinjaTemplate(
        TURNS.replace("turn.content }}", "(turn.thinking or '') }}</think>{{ turn.content }}") + OPEN
    )
    report = check_template(template, [SINGLE], formatter=formatters.text(template))
    assert report.refused == 1
    assert "thinking='thinking'" in report.problems[0].message  # what the formatter says itself


def test_plain_prompts_are_not_what_the_template_writes() -> None:
    report = check_template(TEMPLATES["qwen3"], [SINGLE], formatter=formatters.prompt_completion(plain=True))
    assert report.not_a_prefix == 1


def test_a_prompt_that_ends_too_early_puts_the_loss_on_what_the_student_is_given() -> None:
    template = JinjaTemplate(TEMPLATES["deepseek_r1_distill"])
    whole = rendered(template)

    def early(sample: Sample) -> Row:
        prompt, completion = whole(sample).values()
        return {"prompt": prompt.removesuffix("<think>\n"), "completion": f"<think>\n{completion}"}

    report = check_template(template, [SINGLE], formatter=early)
    assert [problem.kind for problem in report.problems] == ["not_a_prefix"]
    assert (report.not_a_prefix, report.ok) == (1, False)
    assert report.trained.startswith("<think>\n2 and 2")


def test_advice_for_rows_of_text() -> None:
    report = check_template(TEMPLATES["qwen3"], [SINGLE], formatter=lambda sample: {"text": "2 + 2? 4"})
    assert report.dropped == 1
    assert report.advice == "formatters.text(tokenizer)"
    report = check_template(TEMPLATES["gpt_oss"], [SINGLE], formatter=lambda sample: {"text": "2 + 2? 4"})
    assert report.advice == 'formatters.text(tokenizer, thinking="thinking")'


def test_a_formatter_of_ones_own_may_read_whatever_a_sample_has() -> None:
    def mine(sample: Sample) -> Row:
        return {**formatters.messages(sample), "source": sample.task.metadata["source"], "by": sample.teacher}

    sample = Sample(task=Task(instruction="2 + 2?", metadata={"source": "school"}), trace=TRACE, teacher="demo")
    assert check_template(TEMPLATES["qwen3"], [sample], formatter=mine).ok


def test_a_layout_that_nobody_knows() -> None:
    report = check_template(TEMPLATES["qwen3"], [SINGLE], formatter=lambda sample: {"q": "2 + 2?", "a": "4"})
    assert report.refused == 1
    assert "columns q, a" in report.problems[0].message
    assert report.advice == "formatters.messages"


# --- what may be wrong ---


@pytest.mark.parametrize(
    ("template", "kind", "words"),
    [
        (TURNS.replace("turn.content", "'' if turn.role == 'user' else turn.content"), "dropped", "the question"),
        (TURNS.replace("<end>", "{{ turn.content }}<end>"), "repeated", "the question 2 times"),
        (
            TURNS.replace("{{ turn.content", "<think>\n\n</think>\n\n{{ turn.content"),
            "doubled",
            "before the reasoning",
        ),
        (
            TURNS.replace("turn.content", "turn.content | replace('</think>', '</think></think>')"),
            "doubled",
            "behind the reasoning",
        ),
        (
            TURNS.replace("turn.content", "turn.content | replace('<think>', '') | replace('</think>', '')"),
            "misplaced",
            "nothing between reasoning and answer",
        ),
        (TURNS.replace("turn.content", "turn.content | replace('make', 'MAKE')"), "changed", "changes the reasoning"),
        (TURNS.replace("turn.content", "turn.content | replace('&', '&amp;')"), None, ""),
        (TURNS.replace("<end>", "\n"), "endless", "never learns to stop"),
        (
            TURNS.replace("{{ turn.content", "{{ raise_exception('no ' + turn.role) }}{{ turn.content"),
            "refused",
            "no user",
        ),
        (TURNS.replace("turn.content", "turn.content.nothing.at_all"), "refused", "no attribute 'nothing'"),
    ],
)
def test_problems_by_kind(template: str, kind: str | None, words: str) -> None:
    report = check_template(template + OPEN, [SINGLE])
    assert report.ok is (kind is None)
    if kind is not None:
        assert getattr(report, kind) == 1
        assert words in report.problems[0].message


def test_a_trace_that_is_rewritten_is_found_among_others_that_are_not() -> None:
    template = TURNS.replace("turn.content", "turn.content | replace('&', '&amp;')") + OPEN
    ampersand = SINGLE.model_copy(update={"trace": Trace(reasoning="a & b", answer="4")})
    report = check_template(template, [SINGLE, ampersand])
    assert (report.rows, report.changed, report.ok) == (2, 1, False)


@pytest.mark.parametrize(
    ("prompt", "kind", "opened"),
    [
        ("<assistant>", None, None),
        ("<assistant><think>\n", None, "<think>"),
        ("<assistant><think>\n\n</think>\n\n", "closed", None),
        ("<model>", "not_a_prefix", None),
    ],
)
def test_what_the_generation_prompt_holds(prompt: str, kind: str | None, opened: str | None) -> None:
    template = f"{TURNS}{{% if add_generation_prompt %}}{prompt}{{% endif %}}"
    report = check_template(template, SAMPLES)
    assert report.opened == opened
    assert report.ok is (kind is None)
    if opened:
        assert report.trained == "2 and 2\nmake 4.\n</think>\n\nIt is 4.<end>"
    if kind is not None:
        assert getattr(report, kind) == 3


def test_a_template_that_asks_not_to_think_cannot_be_helped_by_a_formatter() -> None:
    template = TURNS + "{% if add_generation_prompt %}<assistant><think>\n\n</think>\n\n{% endif %}"
    report = check_template(template, [SINGLE])
    assert report.advice is None
    assert "No formatter mends this: give the tokenizer another `chat_template`" in str(report)


def test_generation_blocks_must_hold_the_trace() -> None:
    whole = "{% for turn in messages %}<{{ turn.role }}>{% if turn.role == 'assistant' %}"
    good = whole + "{% generation %}{{ turn.content }}<end>{% endgeneration %}{% else %}{{ turn.content }}{% endif %}"
    bad = whole + (
        "{% set parts = turn.content.split('</think>') %}{{ parts[0] }}</think>"
        "{% generation %}{{ parts[-1] }}<end>{% endgeneration %}{% else %}{{ turn.content }}{% endif %}"
    )
    assert check_template(good + "{% endfor %}" + OPEN, SAMPLES).ok
    report = check_template(bad + "{% endfor %}" + OPEN, SAMPLES)
    assert report.outside_loss == 3
    assert report.advice == "formatters.prompt_completion"  # whose loss does not depend on the blocks


# --- lengths ---


class Characters(JinjaTemplate):
    """A tokenizer with a token for each character."""

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        return [ord(character) for character in text]


def test_rows_that_a_trainer_would_cut() -> None:
    tokenizer = Characters(TURNS + OPEN)
    whole = len(tokenizer.apply_chat_template(formatters.messages(SINGLE)["messages"]))
    for limit, cut, early in ((whole, 0, 0), (whole - 1, 1, 0), (whole - 12, 1, 0), (whole - 13, 1, 1), (9, 1, 1)):
        report = check_template(tokenizer, [SINGLE], max_length=limit)
        assert (report.longest, report.cut, report.cut_before_answer) == (whole, cut, early)
        assert report.ok is (cut == 0)
        assert not report.estimated
    assert "is longer than max_length=9 and would be cut, 1 of them before the answer (task 7)" in str(report)
    assert report.advice is None  # another layout is as long


def test_white_space_behind_the_end_may_be_cut() -> None:
    tokenizer = Characters(TURNS.replace("<end>", "<end>{{ '\n' }}") + OPEN)
    whole = len(tokenizer.apply_chat_template(formatters.messages(SINGLE)["messages"]))
    assert check_template(tokenizer, [SINGLE], max_length=whole - 1).ok


def test_without_a_tokenizer_lengths_are_about_right() -> None:
    report = check_template(TEMPLATES["qwen2_5"], [SINGLE], max_length=10)
    assert report.estimated
    assert report.cut == report.cut_before_answer == 1
    assert "about 1 row: a row is longer than max_length=10" in str(report)


# --- what is no check ---


def test_no_samples_are_no_proof() -> None:
    with pytest.raises(ConfigError, match="at least one sample"):
        check_template(TEMPLATES["qwen3"], [])


@pytest.mark.parametrize(
    ("student", "words"),
    [
        ("Qwen/Qwen3-0.6B", "is no Jinja template"),
        ("{% for turn in messages %}\n{{ turn.role }", "mistake in line 2"),
        (object(), "object has no apply_chat_template"),
    ],
)
def test_what_is_no_template(student: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_template(student, [SINGLE])


def test_samples_are_pulled_one_at_a_time() -> None:
    template = JinjaTemplate(TURNS.replace("turn.content", "raise_exception(turn.content)") + OPEN)
    pulled = 0

    def samples() -> Iterator[Sample]:
        nonlocal pulled
        for number in range(50):
            pulled += 1
            yield Sample(task=Task(id=number, instruction=f"{number}?"), trace=TRACE)

    checked = refuse_lost(TEMPLATES["qwen3"])(samples())
    next(checked)
    assert pulled == 1
    report = check_template(template, samples())  # an error that is another in every row is one problem all the same
    assert (report.refused, len(report.problems), report.problems[0].tasks) == (50, 1, (0, 1, 2))


# --- for exports ---


def test_an_export_ends_at_the_first_trace_that_would_be_lost() -> None:
    assert list(refuse_lost(TEMPLATES["qwen3"])(SAMPLES)) == SAMPLES
    with pytest.raises(ConfigError, match=r"task 7: the chat template drops the reasoning. Use formatters.rendered"):
        list(refuse_lost(TEMPLATES["deepseek_r1_distill"])(SAMPLES))
    template = JinjaTemplate(TEMPLATES["deepseek_r1_distill"])
    assert list(refuse_lost(template, formatter=rendered(template))(SAMPLES)) == SAMPLES
