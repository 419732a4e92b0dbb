"""The real trainers of TRL take the rows of `pairs` and the `rewards`, and what they train on holds the trace."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

trl = pytest.importorskip("trl")

import torch  # noqa: E402
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, KTOConfig, KTOTrainer  # noqa: E402
from trl.chat_template_utils import add_response_schema  # noqa: E402

from cot_distill import Run, Sample, Task, Trace, pairs, rewards, verifiers, writers  # noqa: E402
from cot_distill.trace import join, split  # noqa: E402

# Of these packages, which warn about themselves and one another.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(120)]


def rendered(tokenizer: Any) -> Callable[[Task], str]:
    """Prompts as text, with the block opened at their end, as the templates of many reasoning models have it."""

    def prompt(task: Task) -> str:
        turns = [turn.model_dump() for turn in task.prompt()]
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)) + "<think>\n"

    return prompt


LAYOUTS = ["messages", "a field", "plain", "rendered"]


def options(layout: str, tokenizer: Any) -> dict[str, Any]:
    return {
        "messages": {},
        "a field": {"thinking": "reasoning_content"},
        "plain": {"style": "plain"},
        "rendered": {"style": rendered(tokenizer)},
    }[layout]


def trained_text(tokenizer: Any, prompt: list[int], completion: list[int]) -> tuple[str, str]:
    """What the trainer is shown, and the part of it that it trains on."""
    return tokenizer.decode(prompt + completion), tokenizer.decode(completion)


def assert_whole(tokenizer: Any, prompt: list[int], completion: list[int], sample: Sample) -> None:
    whole, trained = trained_text(tokenizer, prompt, completion)
    assert (whole.count("<think>"), whole.count("</think>")) == (1, 1)
    assert f"<think>\n{sample.trace.reasoning}\n</think>\n\n{sample.trace.answer}" in whole
    assert sample.trace.reasoning in trained
    end = trained.removesuffix("\n").removesuffix(tokenizer.eos_token)
    assert end != trained
    assert split(end) == sample.trace


def by_place(run: Run) -> dict[tuple[Any, int], Sample]:
    return {(sample.task.id, sample.attempt): sample for sample in run.samples()}


def assert_trained(trainer: Any, before: dict[str, Any]) -> list[dict[str, float]]:
    """Two steps were made, and moved the weights; returns what was logged of them."""
    assert trainer.state.global_step == 2
    steps = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert len(steps) == 2
    assert all(math.isfinite(entry["loss"]) for entry in steps)
    after = trainer.model.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    return steps


def weights(model: Any) -> dict[str, Any]:
    return {name: value.clone() for name, value in model.state_dict().items()}


# --- DPO and KTO ---


@pytest.mark.parametrize("layout", LAYOUTS)
def test_dpo(layout: str, run: Run, tokenizer: Any, model: Any, settings: Any) -> None:
    dataset = writers.hugging_face()(pairs.dpo(run.samples(), per_task=None, **options(layout, tokenizer)))
    before = weights(model)
    config = DPOConfig(max_length=None, **settings)
    trainer = DPOTrainer(model, args=config, train_dataset=dataset, processing_class=tokenizer)
    samples = by_place(run)
    assert len(trainer.train_dataset) == len(dataset) > 8
    for row in trainer.train_dataset:
        for side in ("chosen", "rejected"):
            sample = samples[row["id"], row[f"{side}_attempt"]]
            assert_whole(tokenizer, row["prompt_ids"], row[f"{side}_ids"], sample)
    trainer.train()
    steps = assert_trained(trainer, before)
    assert steps[0]["loss"] == pytest.approx(math.log(2), abs=1e-3)  # student and reference are still the same


@pytest.mark.parametrize("layout", LAYOUTS)
def test_kto(layout: str, run: Run, tokenizer: Any, model: Any, settings: Any) -> None:
    dataset = writers.hugging_face()(pairs.kto(run.samples(), **options(layout, tokenizer))).shuffle(seed=0)
    before = weights(model)
    config = KTOConfig(max_length=None, **settings)
    trainer = KTOTrainer(model, args=config, train_dataset=dataset, processing_class=tokenizer)
    samples = by_place(run)
    assert len(trainer.train_dataset) == len(dataset) > 8
    for row in trainer.train_dataset:
        sample = samples[row["id"], row["attempt"]]
        assert row["label"] is sample.passed
        assert_whole(tokenizer, row["prompt_ids"], row["completion_ids"], sample)
    trainer.train()
    assert_trained(trainer, before)


def test_kto_takes_the_completion_before_for_its_kl_term_so_rows_are_to_be_shuffled(
    run: Run, tokenizer: Any, model: Any, settings: Any
) -> None:
    ordered = writers.hugging_face()(pairs.kto(run.samples()))
    of_the_same_task = []
    for dataset in (ordered, ordered.shuffle(seed=0)):
        config = KTOConfig(max_length=None, **settings)
        rows = KTOTrainer(model, args=config, train_dataset=dataset, processing_class=tokenizer).train_dataset
        tasks = {tuple(row["completion_ids"]): row["id"] for row in rows}
        of_the_same_task.append(sum(tasks[tuple(row["KL_completion_ids"])] == row["id"] for row in rows))
    assert of_the_same_task[0] > 2 * of_the_same_task[1]


def test_the_default_length_of_the_trainer_cuts_long_traces(
    run: Run, tokenizer: Any, model: Any, settings: Any
) -> None:
    """That is why the guide says `max_length=None`."""
    samples = [
        sample.model_copy(update={"trace": Trace(reasoning="1 + 1 = 2. " * 500, answer=f"Answer: {sample.passed}")})
        for sample in run.samples()
    ]
    dataset = writers.hugging_face()(pairs.dpo(samples))
    for limit, kept in ((None, True), (1024, False)):
        config = DPOConfig(max_length=limit, **settings) if limit is None else DPOConfig(**settings)
        assert config.max_length == limit
        trainer = DPOTrainer(model, args=config, train_dataset=dataset, processing_class=tokenizer)
        batch = next(iter(trainer.get_train_dataloader()))
        assert all(("</think>" in tokenizer.decode(ids)) is kept for ids in batch["input_ids"])


# --- the templates of real students ---

TEMPLATES = Path(trl.__file__).parent / "chat_templates"


@pytest.mark.parametrize(
    ("template", "layout", "survives"),
    [
        ("qwen3", "messages", True),
        ("qwen3", "a field", True),
        ("qwen3_5_think", "messages", True),
        ("qwen3_5_think", "a field", True),
        ("qwen2_5", "messages", True),
        ("qwen2_5", "a field", False),
        ("llama3_1", "messages", True),
        ("llama3_1", "a field", False),
        ("deepseek_r1_distill", "messages", False),
        ("deepseek_r1_distill", "a field", False),
        ("deepseek_r1_distill", "rendered", True),
    ],
)
def test_what_templates_leave_of_a_pair(
    template: str, layout: str, survives: bool, run: Run, tokenizer: Any, model: Any, settings: Any
) -> None:
    tokenizer.chat_template = (TEMPLATES / f"{template}.jinja").read_text()
    tokenizer.bos_token = tokenizer.pad_token
    how: dict[str, Any] = {"style": student_prompt(tokenizer)} if layout == "rendered" else options(layout, tokenizer)
    dataset = writers.hugging_face()(pairs.dpo(run.samples(), **how))
    config = DPOConfig(max_length=None, **settings)
    trainer = DPOTrainer(model, args=config, train_dataset=dataset, processing_class=tokenizer)
    samples = by_place(run)
    for row in trainer.train_dataset:
        for side in ("chosen", "rejected"):
            sample = samples[row["id"], row[f"{side}_attempt"]]
            whole, trained = trained_text(tokenizer, row["prompt_ids"], row[f"{side}_ids"])
            assert (sample.trace.reasoning in trained) is survives
            if survives:
                assert (whole.count("<think>"), whole.count("</think>")) == (1, 1)


def student_prompt(tokenizer: Any) -> Callable[[Task], str]:
    def prompt(task: Task) -> str:
        turns = [turn.model_dump() for turn in task.prompt()]
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))

    return prompt


# --- GRPO ---

REWARDS = {
    "answer_correct": rewards.answer_correct(),
    "exact": rewards.from_verifier(verifiers.exact()),
    "think_format": rewards.think_format(),
    "no_leak": rewards.no_leak(),
    "reasoning_length": rewards.reasoning_length(maximum=400),
}
WEIGHTS = [2.0, 1.0, 0.5, 0.25, 0.1]


OPENING = (
    "{% for message in messages %}[{{ message.role }}] {{ message.content }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant] <think>\n{% endif %}"
)
"""A chat template that opens the block, as those of many reasoning models do."""


def config_of(settings: Any, **more: Any) -> GRPOConfig:
    return GRPOConfig(num_generations=4, max_completion_length=16, shuffle_dataset=False, **settings, **more)


@pytest.mark.parametrize("layout", ["messages", "plain", "rendered"])
def test_grpo_with_what_the_student_says_itself(
    layout: str, run: Run, tokenizer: Any, model: Any, settings: Any
) -> None:
    """A student with random weights talks nonsense: no reward may stumble over it."""
    before = weights(model)
    dataset = writers.hugging_face()(pairs.grpo(run.samples(), **options(layout, tokenizer)))

    def luck(prompts: Any, completions: Any, **columns: Any) -> list[float]:
        return [float(place % 2) for place in range(len(completions))]  # so that there is something to learn

    every = [*REWARDS.values(), rewards.reasoning_length(target=9, unit="tokens", tokenizer=tokenizer), luck]
    trainer = GRPOTrainer(model, every, args=config_of(settings), train_dataset=dataset, processing_class=tokenizer)
    trainer.train()
    steps = assert_trained(trainer, before)
    assert all(steps[0][f"rewards/{name}/mean"] >= 0 for name in REWARDS)


def teacher_speaks(samples: list[Sample], tokenizer: Any) -> Callable[[list[Any], Any], dict[str, Any]]:
    """Stands in for generation: the student says what the teacher said."""
    style = student_prompt(tokenizer)
    attempts: dict[str, list[Sample]] = {}
    for sample in samples:
        attempts.setdefault(style(sample.task), []).append(sample)

    def roll_out(prompts: list[Any], trainer: Any) -> dict[str, Any]:
        found: dict[str, Any] = {"prompt_ids": [], "completion_ids": [], "logprobs": []}
        for place, prompt in enumerate(prompts):
            text = prompt
            if not isinstance(prompt, str):
                text = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
            said = attempts[text][place % len(attempts[text])]
            written = join(said.trace).removeprefix("<think>\n" if text.endswith("<think>\n") else "")
            found["prompt_ids"].append(tokenizer(text)["input_ids"])
            found["completion_ids"].append(tokenizer(written + tokenizer.eos_token)["input_ids"])
            found["logprobs"].append([0.0] * len(found["completion_ids"][-1]))
        return found

    return roll_out


@pytest.mark.parametrize(
    ("template", "style", "shape"),
    [
        ("chatml", "conversational", "messages"),
        ("chatml", "rendered", "text"),
        ("opening", "conversational", "messages"),
        ("opening", "rendered", "text"),
        ("qwen3", "conversational", "parsed"),
        ("qwen3_5_think", "conversational", "parsed"),
    ],
)
def test_grpo_rewards_what_is_right(
    template: str,
    style: Any,
    shape: str,
    run: Run,
    tokenizer: Any,
    model: Any,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether the template opens the think block or not, and in whatever shape the completions come."""
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    if template == "opening":
        tokenizer.chat_template = OPENING
    elif template != "chatml":  # TRL knows these, and takes the reasoning out of the text
        tokenizer.chat_template = (TEMPLATES / f"{template}.jinja").read_text()
        tokenizer = add_response_schema(tokenizer)
    samples = [sample for sample in run.samples() if sample.task.answer]
    style = student_prompt(tokenizer) if style == "rendered" else style
    dataset = writers.hugging_face()(pairs.grpo(samples, style=style))
    seen: list[dict[str, Any]] = []

    def spy(prompts: Any, completions: Any, **columns: Any) -> list[float]:
        assert isinstance(completions[0], str) is (shape == "text")
        assert ("reasoning_content" in completions[0][0]) is (shape == "parsed")
        given = [function(prompts=prompts, completions=completions, **columns) for function in REWARDS.values()]
        seen.extend(dict(zip(REWARDS, values, strict=True)) for values in zip(*given, strict=True))
        return [0.0] * len(prompts)

    def total(functions: Any, weights: list[float]) -> list[float]:
        trainer = GRPOTrainer(
            model,
            functions,
            args=config_of(settings, reward_weights=weights),
            train_dataset=dataset,
            processing_class=tokenizer,
            rollout_func=teacher_speaks(samples, tokenizer),
        )
        trainer.train()
        return [entry["reward"] for entry in trainer.state.log_history if "reward" in entry]

    apart = total([*REWARDS.values(), spy], [*WEIGHTS, 1.0])
    assert len(seen) == 8
    assert {row["answer_correct"] for row in seen} == {0.0, 1.0}
    assert all(row["exact"] == row["answer_correct"] for row in seen)
    assert all(row["think_format"] == row["no_leak"] == 1.0 for row in seen)
    assert all(0.5 < row["reasoning_length"] <= 1.0 for row in seen)
    together = total(rewards.combine(dict(zip(REWARDS.values(), WEIGHTS, strict=True))), [1.0])
    assert together == pytest.approx(apart)  # TRL's own sum


# --- the guide ---

GUIDE = Path(__file__).parents[2] / "docs" / "pairs-and-rewards.md"
SHORTER = {
    "max_length=None": "max_length=None, max_steps=2, bf16=False",
    "max_completion_length=4096": "max_completion_length=16, max_steps=2, bf16=False",
}


def test_the_guide_runs_with_trl(student: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All blocks in order; those that need TRL are marked `py`, and are made to stop after two steps."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    found = re.findall(r"^```(python|py)\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    trained = [text for kind, text in found if kind == "py" and "trainer.train()" in text]
    assert len(trained) == 3
    names: dict[str, Any] = {}
    for kind, text in found:
        if kind == "py":
            text = text.replace("Qwen/Qwen3-0.6B", student)
            for full, short in SHORTER.items():
                text = text.replace(full, short)
        exec(compile(text, str(GUIDE), "exec"), names)
        if "trainer.train()" in text:
            assert names["trainer"].state.global_step == 2
    assert names["dataset"].column_names == ["prompt", "solution", "tests", "id"]
