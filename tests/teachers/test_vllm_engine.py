"""vLLM's engine in this process, with a stand-in for vLLM: modules with its documented interface, and no model."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from enum import Enum
from types import ModuleType, SimpleNamespace
from typing import Any

import anyio
import pytest

from cot_distill.errors import ConfigError, RequestError, UnavailableError
from cot_distill.logprobs import read_logprobs, topk_columns
from cot_distill.teachers.vllm_engine import VllmEngineTeacher
from cot_distill.testing import check_teacher
from cot_distill.trace import parse_trace
from cot_distill.types import Message, Sampling

ASK = [Message(role="user", content="What is 17 + 25?")]
SAID = "17 and 25 → 42.</think>\n\nIt is 42."
END = 0x110000  # the id of the token that ends an answer, beyond all characters


class Tokenizer:
    """A token for each character."""

    chat_template: str | None = "{{ messages }}"
    added_tokens_decoder: dict[int, Any] = {END: SimpleNamespace(content="<|end|>")}

    def apply_chat_template(self, turns: Any, *, tokenize: bool, add_generation_prompt: bool, **options: Any) -> str:
        assert not tokenize
        assert add_generation_prompt
        return f"{turns[-1]['content']}<think>\n"

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        return {"input_ids": [ord(sign) for sign in text]}

    def decode(self, ids: list[int], **options: Any) -> str:
        return "".join(map(chr, ids))

    def convert_ids_to_tokens(self, token: int) -> str:
        return chr(token)


class RequestOutputKind(Enum):
    CUMULATIVE = 0
    DELTA = 1
    FINAL_ONLY = 2


class SamplingParams:
    """Refuses what it does not know, as the real one."""

    def __init__(
        self,
        *,
        temperature: float = 1.0,
        top_p: float = 1.0,
        top_k: int = 0,
        max_tokens: int | None = 16,
        seed: int | None = None,
        logprobs: int | None = None,
        detokenize: bool = True,
        output_kind: RequestOutputKind = RequestOutputKind.CUMULATIVE,
    ) -> None:
        self.__dict__.update(locals())


@dataclass
class AsyncEngineArgs:
    model: str
    max_model_len: int = 500


@dataclass
class AsyncLLM:
    args: AsyncEngineArgs
    model_config: Any = field(default_factory=lambda: SimpleNamespace(get_diff_sampling_param=lambda: {"top_k": 20}))
    seen: list[SamplingParams] = field(default_factory=list)
    aborted: list[str] = field(default_factory=list)
    finish_reason: str = "stop"
    down: bool = False

    @classmethod
    def from_engine_args(cls, args: AsyncEngineArgs) -> AsyncLLM:
        if args.model == "nobody/nothing":
            raise OSError("no such model on the hub")
        ENGINES.append(cls(args))
        return ENGINES[-1]

    def get_tokenizer(self) -> Tokenizer:
        return Tokenizer()

    async def generate(
        self, prompt: dict[str, list[int]], sampling_params: SamplingParams, request_id: str
    ) -> AsyncIterator[Any]:
        assert sampling_params.output_kind is RequestOutputKind.FINAL_ONLY  # type: ignore[attr-defined]
        self.seen.append(sampling_params)
        if len(prompt["prompt_token_ids"]) > self.args.max_model_len:
            raise ValueError("The decoder prompt is longer than the maximum model length of 500.")
        try:
            await anyio.sleep(0.05)
        except BaseException:
            self.aborted.append(request_id)
            raise
        ids = [*map(ord, SAID), END]
        most = sampling_params.max_tokens  # type: ignore[attr-defined]
        cut = most is not None and most < len(ids)
        ids = ids[:most] if cut else ids
        k = sampling_params.logprobs  # type: ignore[attr-defined]
        places = None if k is None else [self._place(number, k) for number in ids]
        said = SimpleNamespace(
            token_ids=ids, logprobs=places, finish_reason="length" if cut else self.finish_reason
        )  # fmt: skip
        yield SimpleNamespace(outputs=[said], finished=True)

    def _place(self, number: int, k: int) -> dict[int, Any]:
        """The k likeliest, and what was said: here it is never among them."""
        return {number: SimpleNamespace(logprob=-5.0, rank=k + 1)} | {
            place: SimpleNamespace(logprob=-1.0 - place, rank=place + 1) for place in range(k)
        }

    def shutdown(self) -> None:
        self.down = True


ENGINES: list[AsyncLLM] = []


@pytest.fixture(autouse=True)
def vllm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    contents: dict[str, dict[str, Any]] = {
        "vllm": {"SamplingParams": SamplingParams, "__spec__": SimpleNamespace(name="vllm")},
        "vllm.engine": {},
        "vllm.engine.arg_utils": {"AsyncEngineArgs": AsyncEngineArgs},
        "vllm.sampling_params": {"RequestOutputKind": RequestOutputKind},
        "vllm.v1": {},
        "vllm.v1.engine": {},
        "vllm.v1.engine.async_llm": {"AsyncLLM": AsyncLLM},
    }
    for name, values in contents.items():
        module = ModuleType(name)
        module.__dict__.update(values)
        monkeypatch.setitem(sys.modules, name, module)
    ENGINES.clear()
    yield
    assert all(engine.down for engine in ENGINES)


def test_keeps_the_promises_of_a_teacher() -> None:
    completion = anyio.run(check_teacher, VllmEngineTeacher("Qwen/QwQ-32B"))
    assert parse_trace(completion).answer == "It is 42."
    assert completion.prefilled is True
    assert completion.trace_kind == "full"
    assert completion.usage.completion_tokens == len(SAID) + 1
    assert len(ENGINES) == 2  # it was entered twice


def test_one_engine_for_all_that_ask_at_once() -> None:
    async def main() -> None:
        teacher = VllmEngineTeacher("m")
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(teacher.complete, ASK, Sampling())

    anyio.run(main)
    assert len(ENGINES) == 1


def test_settings() -> None:
    sampling = Sampling(temperature=0.5, seed=3, max_tokens=10, top_logprobs=2, extra={"top_k": 5})
    completion = anyio.run(VllmEngineTeacher("m", engine_args={"max_model_len": 400}).complete, ASK, sampling)
    (engine,) = ENGINES
    (params,) = engine.seen
    wanted = {"temperature": 0.5, "seed": 3, "max_tokens": 10, "top_k": 5, "logprobs": 2, "detokenize": False}
    assert {name: getattr(params, name) for name in wanted} == wanted
    assert engine.args == AsyncEngineArgs("m", max_model_len=400)
    assert (completion.finish_reason, completion.content) == ("length", SAID[:10])


def test_what_is_not_set_is_the_models_own() -> None:
    anyio.run(VllmEngineTeacher("m").complete, ASK, Sampling())
    ((params,),) = [engine.seen for engine in ENGINES]
    assert (params.top_k, params.max_tokens) == (20, None)  # type: ignore[attr-defined]


def test_logprobs() -> None:
    completion = anyio.run(VllmEngineTeacher("m").complete, ASK, Sampling(top_logprobs=2))
    found = read_logprobs(completion)
    assert found is not None
    columns = topk_columns(found)
    assert columns["token_ids"] == [*map(ord, SAID), END]
    assert columns["topk_ids"][0] == [0, 1]
    assert columns["topk_logprobs"][0] == [-1.0, -2.0]
    assert found.tokens[0].said.logprob == -5.0


def test_cancelled_it_is_aborted() -> None:
    async def main() -> AsyncLLM:
        async with VllmEngineTeacher("m") as teacher:
            with anyio.move_on_after(0.01):
                await teacher.complete(ASK, Sampling())
            return ENGINES[-1]

    assert len(anyio.run(main).aborted) == 1


def test_errors() -> None:
    teacher = VllmEngineTeacher("m")
    with pytest.raises(RequestError, match="longer than the maximum") as refused:
        anyio.run(teacher.complete, [Message(role="user", content="x" * 501)], Sampling())
    assert refused.value.kind == "too_long"
    with pytest.raises(ConfigError, match=r"does not take these settings: .*'min_q'"):
        anyio.run(teacher.complete, ASK, Sampling(extra={"min_q": 1}))
    with pytest.raises(ConfigError, match="vLLM cannot start 'nobody/nothing': no such model"):
        anyio.run(VllmEngineTeacher("nobody/nothing").complete, ASK, Sampling())


def test_an_engine_that_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AsyncLLM, "__init__", _with_abort(AsyncLLM.__init__))
    with pytest.raises(UnavailableError, match="ended with 'abort'"):
        anyio.run(VllmEngineTeacher("m").complete, ASK, Sampling())


def _with_abort(init: Any) -> Any:
    def aborting(self: AsyncLLM, args: AsyncEngineArgs) -> None:
        init(self, args, finish_reason="abort")

    return aborting


def test_no_chat_template(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tokenizer, "chat_template", None)
    with pytest.raises(ConfigError, match="has no chat template"):
        anyio.run(VllmEngineTeacher("m").complete, ASK, Sampling())


def test_no_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "vllm"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ConfigError, match="pip install vllm"):
        VllmEngineTeacher("m")
