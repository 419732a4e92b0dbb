"""Scoring a student: what it is asked, what is made of what it writes, and what the numbers mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from cot_distill import Run, Task, Verdict, formatters, sources, verifiers  # noqa: E402
from cot_distill.encoding import encode  # noqa: E402
from cot_distill.errors import ConfigError, VerifierError  # noqa: E402
from cot_distill.student import (  # noqa: E402
    DistillationConfig,
    DistillationTrainer,
    encode_dataset,
    generate_and_score,
)

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(120)]

TASKS = [
    Task(id="short", instruction="2 + 2?", answer="4"),
    Task(id="long", instruction="What is 2 + 2? Take your time, there is no hurry at all.", answer="4"),
]


class Writing(torch.nn.Module):
    """Stands in for a student: it says what a function makes of its prompt."""

    def __init__(self, tokenizer: Any, says: Callable[[str], str]) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.says = says
        self.device = torch.device("cpu")
        self.batches: list[dict[str, Any]] = []

    def generate(self, input_ids: Any, attention_mask: Any, max_new_tokens: int, **options: Any) -> Any:
        assert not self.training
        assert not torch.is_grad_enabled()
        self.batches.append({"input_ids": input_ids, "attention_mask": attention_mask, **options})
        rows = []
        for ids, mask in zip(input_ids, attention_mask, strict=True):
            said = self.tokenizer.encode(self.says(self.tokenizer.decode(ids[mask == 1])), add_special_tokens=False)
            rows.append([*said, *[options["pad_token_id"]] * max_new_tokens][:max_new_tokens])
        return torch.cat([input_ids, torch.tensor(rows)], 1)


def score(tokenizer: Any, says: str | Callable[[str], str], tasks: Any = TASKS, **options: Any) -> Any:
    model = Writing(tokenizer, says if callable(says) else lambda prompt: says)
    options = {"max_new_tokens": 200, **options}
    verifier = options.pop("verifier", verifiers.exact())
    return generate_and_score(model, tokenizer, tasks, verifier, **options), model


END = "<|im_end|>"
WHOLE = f"<think>\n2 and 2 make 4.\n</think>\n\n4{END}"


def test_right_well_formed_answers(tokenizer: Any) -> None:
    found, _ = score(tokenizer, WHOLE)
    assert (found.accuracy, found.well_formed) == (1.0, 1.0)
    reasoning = len(tokenizer.encode("2 and 2 make 4.", add_special_tokens=False))
    assert found.reasoning_tokens == reasoning
    first, second = found.rows
    assert (first["id"], second["id"]) == ("short", "long")
    assert first["prompt"] == "<|im_start|>user\n2 + 2?<|im_end|>\n<|im_start|>assistant\n"
    assert first["completion"] == WHOLE.removesuffix(END)
    assert (first["reasoning"], first["answer"]) == ("2 and 2 make 4.", "4")
    assert (first["passed"], first["problem"], first["finished"]) == (True, None, True)
    assert first["completion_tokens"] == len(tokenizer.encode(WHOLE, add_special_tokens=False)) - 1


def test_batches_are_padded_on_the_left_and_decoding_is_greedy(tokenizer: Any) -> None:
    _, model = score(tokenizer, WHOLE)
    (batch,) = model.batches
    long, short = batch["attention_mask"].tolist()
    assert all(long)
    assert short == sorted(short)
    assert not all(short)
    assert batch["do_sample"] is False
    assert batch["eos_token_id"] == [tokenizer.eos_token_id]
    _, model = score(tokenizer, WHOLE, batch_size=1, do_sample=True, temperature=0.5)
    assert [batch["input_ids"].shape[0] for batch in model.batches] == [1, 1]
    assert (model.batches[0]["do_sample"], model.batches[0]["temperature"]) == (True, 0.5)


def test_a_student_is_asked_as_it_was_trained(run: Run, tokenizer: Any) -> None:
    samples = list(run.samples())[:3]
    for formatter in (formatters.messages, formatters.messages(thinking="reasoning_content"), formatters.alpaca):
        _, model = score(tokenizer, WHOLE, [one.task for one in samples], formatter=formatter, batch_size=1)
        asked = {tuple(batch["input_ids"][0].tolist()) for batch in model.batches}
        encoded = [encode(tokenizer, one, formatter=formatter) for one in samples]
        assert asked == {one.ids[one.spans.prompt] for one in encoded}


@pytest.mark.parametrize(
    ("text", "passed", "problem", "reasoning", "answer"),
    [
        (f"4{END}", True, "no_reasoning", "", "4"),  # a student that does not think is measured by its answer
        (f"5{END}", False, "no_reasoning", "", "5"),
        ("<think>\n2 and 2 make 4.\n</think>\n\n4", False, "truncated", "2 and 2 make 4.", ""),  # never ends
        (f"<think>\n2 and 2 make 4.{END}", False, "unbalanced", "2 and 2 make 4.", ""),
        (f"<think>\na\n</think>\n\n{END}", False, "no_answer", "a", ""),
        (f"<think>\n5\n</think>\n\n<think>\na\n</think>\n\n4{END}", True, "repeated", None, "4"),
        (f"{END}", False, "no_reasoning", "", ""),
    ],
)
def test_what_is_made_of_other_texts(
    text: str, passed: bool, problem: str, reasoning: str | None, answer: str, tokenizer: Any
) -> None:
    (row,) = score(tokenizer, text, TASKS[:1], max_new_tokens=len(tokenizer.encode(text)))[0].rows
    assert (row["passed"], row["answer"]) == (passed, answer)
    assert (row["problem"], row["well_formed"]) == (problem, False)
    if reasoning is not None:
        assert row["reasoning"] == reasoning


def test_a_prompt_that_opens_the_block(tokenizer: Any) -> None:
    begin = "<|im_start|>assistant\n{% endif %}"
    assert tokenizer.chat_template.endswith(begin)
    template = tokenizer.chat_template.removesuffix(begin) + "<|im_start|>assistant\n<think>\n{% endif %}"
    tokenizer.chat_template = template
    found, _ = score(tokenizer, f"2 and 2 make 4.\n</think>\n\n4{END}")
    assert found.rows[0]["prompt"].endswith("<think>\n")
    assert (found.accuracy, found.well_formed) == (1.0, 1.0)
    assert found.rows[0]["reasoning"] == "2 and 2 make 4."
    endless, _ = score(tokenizer, "2 and 2 make", max_new_tokens=9)
    assert endless.rows[0]["reasoning"] == "2 and 2 make" + "<|endoftext|>" * (
        9 - len(tokenizer.encode("2 and 2 make", add_special_tokens=False))
    )
    assert (endless.accuracy, endless.reasoning_tokens) == (0.0, 9)


def test_means_are_over_tasks(tokenizer: Any) -> None:
    found, _ = score(tokenizer, lambda prompt: WHOLE if "hurry" in prompt else f"5{END}")
    assert (found.accuracy, found.well_formed) == (0.5, 0.5)
    assert found.reasoning_tokens == found.rows[1]["reasoning_tokens"] / 2 > 0


def test_what_cannot_be_judged_is_left_out(tokenizer: Any) -> None:
    unknown = Task(id="unknown", instruction="Why?")
    found, _ = score(tokenizer, WHOLE, [*TASKS, unknown])
    assert found.accuracy == 1.0
    assert found.rows[2]["passed"] is None
    with pytest.raises(ConfigError, match=r"exact could judge none of 1 answers"):
        score(tokenizer, WHOLE, [unknown])
    with pytest.raises(ConfigError, match=r"no tasks to score"):
        score(tokenizer, WHOLE, [])


def test_verifiers_of_any_kind(tokenizer: Any) -> None:
    async def waits(task: Task, trace: Any) -> Verdict:
        return Verdict(by="waits", passed=task.id == "long", reason=trace.reasoning)

    found, _ = score(tokenizer, WHOLE, verifier=waits)
    assert found.accuracy == 0.5
    assert found.rows[0]["reason"] == "2 and 2 make 4."

    def crashes(task: Task, trace: Any) -> Verdict:
        if task.id == "long":
            raise ValueError("no")
        return Verdict(by="crashes", passed=True)

    found, _ = score(tokenizer, WHOLE, verifier=crashes)
    assert found.accuracy == 1.0
    assert found.rows[1]["reason"] == "the verifier crashed: no"
    with pytest.raises(VerifierError, match=r"crashes: "):
        score(tokenizer, WHOLE, [TASKS[1], TASKS[1]], verifier=crashes)


def test_a_real_model_gives_the_same_in_any_batch(tokenizer: Any, model: Any) -> None:
    for parameter in model.lm_head.parameters():
        parameter.data *= 30  # so that rounding does not decide
    tasks = list(sources.demo_tasks(6))
    model.train()
    found = [
        generate_and_score(model, tokenizer, tasks, verifiers.exact(), max_new_tokens=12, batch_size=size)
        for size in (1, 4, 6)
    ]
    assert model.training
    texts = [[row["completion"] for row in one.rows] for one in found]
    assert texts[0] == texts[1] == texts[2]
    assert len(set(texts[0])) > 1
    assert all(row["completion_tokens"] == 12 or row["finished"] for row in found[0].rows)


def test_what_was_learned_by_heart_is_said_again(run: Run, tokenizer: Any, model: Any, settings: Any) -> None:
    """From samples through training to a score: what is asked, learned and read is one and the same text."""
    short = sorted((one for one in run.samples() if one.passed), key=lambda one: len(one.trace.reasoning))
    samples = list({one.task.id: one for one in reversed(short[:12])}.values())[:2]
    before = generate_and_score(model, tokenizer, [one.task for one in samples], verifiers.exact(), max_new_tokens=9)
    assert before.accuracy == 0
    options = {**settings, "max_steps": 150, "learning_rate": 1e-2, "logging_steps": 150}
    dataset = encode_dataset(tokenizer, samples)
    trainer = DistillationTrainer(model, DistillationConfig(**options, gamma=0.0), train_dataset=dataset)
    trainer.train()
    longest = max(map(len, dataset["input_ids"]))
    found = generate_and_score(
        model, tokenizer, [one.task for one in samples], verifiers.exact(), max_new_tokens=longest
    )
    assert [(row["reasoning"], row["answer"]) for row in found.rows] == [
        (one.trace.reasoning, one.trace.answer) for one in samples
    ]
    assert (found.accuracy, found.well_formed) == (1.0, 1.0)
