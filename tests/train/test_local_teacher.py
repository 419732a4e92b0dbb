"""The teacher in this process, with a real model on torch: what it says, beside others, cancelled, cut and warm."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import anyio
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from cot_distill import Distiller, Task, open_teacher
from cot_distill.errors import ConfigError, RequestError, TraceError, UnavailableError
from cot_distill.logprobs import read_logprobs, topk_columns
from cot_distill.teachers import _decoding
from cot_distill.teachers.local import TransformersTeacher
from cot_distill.testing import check_teacher
from cot_distill.trace import parse_trace
from cot_distill.types import Completion, Message, Sampling, Trace

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(120)]


def _tiny() -> ModuleType:
    path = Path(__file__).parents[1] / "servers" / "tiny_teacher.py"
    spec = importlib.util.spec_from_file_location("tiny_teacher", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tiny = _tiny()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher that was trained on the spot."""
    torch.set_num_threads(1)
    made = tmp_path_factory.mktemp("tiny")
    assert tiny.train(made) < 0.01
    return made


@pytest.fixture
def loaded(folder: Path) -> tuple[Any, Any]:
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def asked(a: int, b: int) -> list[Message]:
    return [Message(role="user", content=tiny.question(a, b))]


def expected(a: int, b: int) -> Trace:
    return Trace(reasoning=tiny.reasoning(a, b), answer=tiny.answer(a, b))


def answers(teacher: TransformersTeacher, wishes: Sequence[tuple[tuple[int, int], Sampling]]) -> list[Completion]:
    """Ask all at once."""
    found: dict[int, Completion] = {}

    async def main() -> None:
        async def ask(number: int) -> None:
            pair, sampling = wishes[number]
            found[number] = await teacher.complete(asked(*pair), sampling)

        async with teacher, anyio.create_task_group() as group:
            for number in range(len(wishes)):
                group.start_soon(ask, number)

    anyio.run(main)
    return [found[number] for number in range(len(wishes))]


# --- the contract ---


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_keeps_the_promises_of_a_teacher(folder: Path, backend: str) -> None:
    teacher = TransformersTeacher(str(folder), name="tiny")
    completion = anyio.run(check_teacher, teacher, backend=backend)
    assert parse_trace(completion) == expected(17, 25)
    assert completion.trace_kind == "full"
    assert completion.finish_reason == "stop"
    assert completion.prefilled is False
    tokens = completion.usage
    tokenizer = AutoTokenizer.from_pretrained(folder)
    thought, said = completion.content.split("</think>")
    size = [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in (thought + "</think>", said)]
    assert (tokens.reasoning_tokens, tokens.answer_tokens) == (size[0], size[1] + 1)  # and the one that ends it
    assert tokens.prompt_tokens == 26


def test_by_name(folder: Path) -> None:
    teacher = open_teacher(f"transformers:{folder}")
    assert teacher.name == f"transformers:{folder}"
    assert parse_trace(anyio.run(teacher.complete, asked(1, 1), Sampling())) == expected(1, 1)


def test_a_run(loaded: tuple[Any, Any], tmp_path: Path) -> None:
    distiller = Distiller(TransformersTeacher(*loaded, max_batch=5))
    tasks = [Task(instruction=tiny.question(a, b)) for a, b in tiny.SUMS]
    run = distiller.run(tasks, tmp_path / "run", progress=False)
    assert {sample.task.instruction: sample.trace for sample in run.samples()} == {
        tiny.question(*pair): expected(*pair) for pair in tiny.SUMS
    }


# --- batches ---


def test_answers_are_those_of_each_question_alone(loaded: tuple[Any, Any]) -> None:
    """Prompts of different lengths, answers that end at different times, more questions than places."""
    teacher = TransformersTeacher(*loaded, max_batch=4)
    longest = [(pair, Sampling(max_tokens=None if number % 2 else 5)) for number, pair in enumerate(tiny.SUMS)]
    for (pair, sampling), completion in zip(longest, answers(teacher, longest), strict=True):
        if sampling.max_tokens is None:
            assert parse_trace(completion) == expected(*pair)
        else:
            assert completion.finish_reason == "length"
            assert completion.usage.completion_tokens == 5


def test_one_batch_for_many_questions(loaded: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    widths: list[int] = []
    forward = _decoding.Decoder._forward

    def counted(self: Any, ids: Any, *rest: Any) -> Any:
        widths.append(len(ids))
        return forward(self, ids, *rest)

    monkeypatch.setattr(_decoding.Decoder, "_forward", counted)
    answers(TransformersTeacher(*loaded, max_batch=8), [(pair, Sampling()) for pair in tiny.SUMS[:16]])
    assert max(widths) == 8
    alone = 16 * 27
    assert len(widths) < alone / 4


def test_joining_moves_no_logit(loaded: tuple[Any, Any]) -> None:
    """An answer that others join and leave says the same with the same probabilities as one that is alone."""
    teacher = TransformersTeacher(*loaded, max_batch=3)
    wish = ((17, 25), Sampling(top_logprobs=2))
    (alone,) = answers(teacher, [wish])
    others = [((3, 5), Sampling(max_tokens=n)) for n in (2, 3, 4, 6, 8, 11)]
    beside = answers(teacher, [wish, *others])[0]
    assert alone.logprobs
    assert beside.logprobs
    assert beside.logprobs["token_ids"] == alone.logprobs["token_ids"]
    assert beside.logprobs["logprobs"] == pytest.approx(alone.logprobs["logprobs"], abs=1e-4)


def test_a_model_with_windows_is_answered_batch_by_batch(folder: Path, loaded: tuple[Any, Any]) -> None:
    """Sliding windows cannot be put together; the questions that come later wait, and are answered as if alone."""
    config = AutoConfig.from_pretrained(folder)
    config.layer_types = ["sliding_attention", "full_attention", "full_attention"]
    config.sliding_window = 12
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder, config=config), loaded[1]
    wishes = [(pair, Sampling(max_tokens=6 + 3 * number)) for number, pair in enumerate(tiny.SUMS[:7])]
    alone = answers(TransformersTeacher(model, tokenizer, max_batch=1), wishes)
    beside = answers(TransformersTeacher(model, tokenizer, max_batch=3), wishes)
    assert [completion.content for completion in beside] == [completion.content for completion in alone]


# --- sampling ---


def test_seeds(loaded: tuple[Any, Any]) -> None:
    teacher = TransformersTeacher(*loaded)
    hot = [((17, 25), Sampling(temperature=3.0, seed=seed, max_tokens=20)) for seed in (1, 1, 2)]
    first, again, other = answers(teacher, hot)
    assert first.content == again.content != other.content


def test_top_k_and_top_p_keep_to_the_likeliest(loaded: tuple[Any, Any]) -> None:
    teacher = TransformersTeacher(*loaded)
    narrow = [Sampling(temperature=3.0, top_p=1e-6, seed=1), Sampling(temperature=3.0, extra={"top_k": 1}, seed=1)]
    for completion in answers(teacher, [((17, 25), sampling) for sampling in narrow]):
        assert parse_trace(completion) == expected(17, 25)


def test_draws_follow_the_probabilities() -> None:
    """10,000 draws from known probabilities, within five standard deviations; what top_p cuts off never comes."""
    p = torch.tensor([0.1, 0.5, 0.15, 0.25])
    answer = _answer(temperature=1.0, top_p=0.7, seed=7)
    counts = torch.zeros(4)
    for _ in range(10_000):
        counts[_decoding._choose([answer], p.log()[None])] += 1
    assert counts[0] == counts[2] == 0
    share, exact = counts[1] / 10_000, 0.5 / 0.75
    assert abs(share - exact) < 5 * (exact * (1 - exact) / 10_000) ** 0.5


def test_temperature_changes_the_probabilities() -> None:
    p = torch.tensor([0.2, 0.8])
    answer = _answer(temperature=0.5, top_p=1.0, seed=7)
    drawn = sum(int(_decoding._choose([answer], p.log()[None])) for _ in range(10_000))
    exact = 0.64 / (0.64 + 0.04)
    assert abs(drawn / 10_000 - exact) < 5 * (exact * (1 - exact) / 10_000) ** 0.5


def test_top_p_is_a_share_of_what_top_k_leaves() -> None:
    """Of the two likeliest, the first has four sevenths: more than a half."""
    answer = _answer(temperature=1.0, top_p=0.5, seed=7)
    answer.top_k = 2
    logits = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).log()
    assert {int(_decoding._choose([answer], logits)) for _ in range(100)} == {0}


def test_each_answer_has_its_own_settings() -> None:
    cold, hot = _answer(temperature=0.0, top_p=1.0, seed=1), _answer(temperature=1.0, top_p=1.0, seed=1)
    logits = torch.tensor([[0.1, 0.2, 0.7], [0.0, 1.0, 0.0]]).log()
    assert _decoding._choose([cold, hot], logits).tolist() == [2, 1]


def _answer(*, temperature: float, top_p: float, seed: int) -> _decoding.Answer:
    from random import Random

    return _decoding.Answer(
        prompt=[1],
        room=9,
        temperature=temperature,
        top_p=top_p,
        top_k=0,
        random=Random(seed),
        top_logprobs=None,
        given_up=lambda: False,
    )


def test_settings_that_are_not_made_are_the_models_own(loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    model.generation_config.update(do_sample=True, temperature=3.0, max_new_tokens=12)
    hot, cold = answers(
        TransformersTeacher(model, tokenizer),
        [((17, 25), Sampling(seed=5)), ((17, 25), Sampling(seed=5, temperature=0.0))],
    )
    assert hot.usage.completion_tokens == cold.usage.completion_tokens == 12
    assert tiny.reasoning(17, 25).startswith(cold.content.removeprefix("<think>\n"))
    assert hot.content != cold.content


def test_the_context_is_the_end(loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    model.config.max_position_embeddings = 40
    (completion,) = answers(TransformersTeacher(model, tokenizer), [((17, 25), Sampling())])
    assert completion.finish_reason == "length"
    assert completion.usage.total == 40
    with pytest.raises(TraceError) as caught:
        parse_trace(completion)
    assert caught.value.kind == "truncated"
    model.config.max_position_embeddings = 20
    with pytest.raises(RequestError, match="reads 20 tokens at most; this prompt has") as refused:
        anyio.run(TransformersTeacher(model, tokenizer).complete, asked(17, 25), Sampling())
    assert refused.value.kind == "too_long"


# --- the prompt ---


def test_prefilled_is_known_from_the_prompt(loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    tokenizer.chat_template += "{% if add_generation_prompt %}{{ '<think>\\n' }}{% endif %}"
    (completion,) = answers(TransformersTeacher(model, tokenizer), [((17, 25), Sampling())])
    assert completion.prefilled is True
    assert not completion.content.startswith("<think>")
    assert parse_trace(completion) == expected(17, 25)


def test_effort_none_switches_thinking_off(loaded: tuple[Any, Any]) -> None:
    off = [Sampling(reasoning_effort="none"), Sampling(extra={"chat_template_kwargs": {"enable_thinking": False}})]
    for completion in answers(TransformersTeacher(*loaded), [((17, 25), sampling) for sampling in off]):
        assert completion.prefilled is False
        assert "<think>" not in completion.content
        assert completion.usage.prompt_tokens == 26 + 6  # of the empty block: two tags, four line breaks


def test_special_tokens_that_are_think_tags_are_kept(loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    tokenizer.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]})
    (completion,) = answers(TransformersTeacher(model, tokenizer), [((17, 25), Sampling())])
    assert parse_trace(completion) == expected(17, 25)


# --- log-probabilities ---


def test_logprobs_are_aligned_by_bytes(loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    (completion,) = answers(TransformersTeacher(model, tokenizer), [((17, 25), Sampling(top_logprobs=3))])
    found = read_logprobs(completion)
    assert found is not None
    assert found.text is not None
    assert found.covers == "all"
    assert found.missing == 0
    assert found.text.decode() == completion.content
    halves = [token.said.text or b"" for token in found.tokens if b"\xe2\x91" in (token.said.text or b"")]
    assert halves
    assert "\ufffd" in halves[0].decode("utf-8", "replace")
    trace = parse_trace(completion)
    for part, text in ((found.reasoning, trace.reasoning), (found.answer, trace.answer)):
        assert b"".join(token.said.text or b"" for token in found.tokens[part]).strip().decode() == text
    columns = topk_columns(found)
    assert len(columns["token_ids"]) == completion.usage.completion_tokens
    assert columns["token_ids"][-1] == tokenizer.eos_token_id
    _same_as_the_model_itself(model, tokenizer, columns)


def _same_as_the_model_itself(model: Any, tokenizer: Any, columns: Any) -> None:
    turns = [message.model_dump() for message in asked(17, 25)]
    prompt = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        logits = model(torch.tensor([ids + columns["token_ids"]])).logits[0, len(ids) - 1 : -1]
    values, tops = logits.float().log_softmax(-1).topk(3)
    assert columns["topk_ids"] == tops.tolist()
    assert torch.tensor(columns["topk_logprobs"]) == pytest.approx(values, abs=1e-4)


def test_no_logprobs_unless_asked_for(loaded: tuple[Any, Any]) -> None:
    none, only_said = answers(
        TransformersTeacher(*loaded), [((17, 25), Sampling()), ((17, 25), Sampling(top_logprobs=0))]
    )
    assert none.logprobs is None
    assert only_said.logprobs is not None
    assert set(map(len, only_said.logprobs["topk_logprobs"])) == {0}


# --- leaving ---


def test_a_cancelled_call_frees_its_place(loaded: tuple[Any, Any]) -> None:
    """With one place only: an answer that would go on for ever is given up, and the next one is said."""
    model, tokenizer = loaded
    model.config.max_position_embeddings = 10**6
    model.generation_config.eos_token_id = None
    tokenizer.eos_token = None
    teacher = TransformersTeacher(model, tokenizer, max_batch=1)

    async def main() -> Completion:
        async with teacher:
            with anyio.move_on_after(0.3) as scope:
                await teacher.complete(asked(17, 25), Sampling(max_tokens=10**6))
            assert scope.cancelled_caught
            with anyio.fail_after(60):
                return await teacher.complete(asked(17, 25), Sampling(max_tokens=3))

    assert anyio.run(main).usage.completion_tokens == 3


def test_threads_end(loaded: tuple[Any, Any]) -> None:
    teacher = TransformersTeacher(*loaded, name="ends here")
    answers(teacher, [((17, 25), Sampling(max_tokens=1))])
    anyio.run(teacher.complete, asked(17, 25), Sampling(max_tokens=1))
    assert not [thread for thread in threading.enumerate() if thread.name == "ends here"]


# --- errors ---


def test_memory_runs_out(loaded: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    forward = _decoding.Decoder._forward

    def small(self: Any, ids: Any, *rest: Any) -> Any:
        if len(ids) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, ids, *rest)

    monkeypatch.setattr(_decoding.Decoder, "_forward", small)
    teacher = TransformersTeacher(*loaded, max_batch=2)
    caught: list[UnavailableError] = []

    async def main() -> Completion:
        async def ask() -> None:
            with pytest.raises(UnavailableError, match="lower max_batch=2") as error:
                await teacher.complete(asked(17, 25), Sampling())
            caught.append(error.value)

        async with teacher:
            async with anyio.create_task_group() as group:
                group.start_soon(ask)
                group.start_soon(ask)
            return await teacher.complete(asked(17, 25), Sampling())

    assert parse_trace(anyio.run(main)) == expected(17, 25)  # the thread lives on
    assert [error.transient for error in caught] == [True, True]


def test_a_defect_of_the_model_surfaces(loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    model.lm_head = torch.nn.Linear(3, 3)
    with pytest.raises(RuntimeError, match="shapes"):
        anyio.run(TransformersTeacher(model, tokenizer).complete, asked(17, 25), Sampling())


def test_what_is_wrong_is_said(loaded: tuple[Any, Any], tmp_path: Path) -> None:
    model, tokenizer = loaded
    with pytest.raises(ConfigError, match="needs its tokenizer"):
        TransformersTeacher(model)
    with pytest.raises(ConfigError, match="max_batch=0"):
        TransformersTeacher(model, tokenizer, max_batch=0)
    missing = TransformersTeacher(str(tmp_path / "nothing"))
    with pytest.raises(ConfigError, match="transformers cannot load"):
        anyio.run(missing.complete, asked(1, 1), Sampling())
    teacher = TransformersTeacher(model, tokenizer)
    with pytest.raises(ConfigError, match="chat_template_kwargs and top_k, not 'min_p'"):
        anyio.run(teacher.complete, asked(1, 1), Sampling(extra={"min_p": 0.1}))
    tokenizer.chat_template = "{{ raise_exception('no system prompts here') }}"
    with pytest.raises(RequestError, match="refuses this conversation: no system prompts here"):
        anyio.run(teacher.complete, asked(1, 1), Sampling())
    tokenizer.chat_template = None
    with pytest.raises(ConfigError, match="has no chat template"):
        TransformersTeacher(model, tokenizer)
