"""A pass that stops before the logits gives what a whole one gives, for models that make these in their own ways."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from transformers import (  # noqa: E402
    CohereConfig,
    Gemma2Config,
    GPT2Config,
    GraniteConfig,
    HyperCLOVAXConfig,
    LlamaConfig,
    MiniCPM3Config,
)

from cot_distill.errors import ConfigError  # noqa: E402
from cot_distill.student.model_outputs import outputs_of  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")

SMALL = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
}
MODELS = {
    "llama": lambda: LlamaConfig(**SMALL),
    "tied": lambda: LlamaConfig(**SMALL, tie_word_embeddings=True),
    "gpt2": lambda: GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=2),
    "scaled": lambda: CohereConfig(**SMALL, logit_scale=0.0625),
    "divided": lambda: GraniteConfig(**SMALL, logits_scaling=8.0),
    "multiplied": lambda: HyperCLOVAXConfig(**SMALL, logits_scaling=0.25),
    "divided before": lambda: MiniCPM3Config(
        **SMALL, q_lora_rank=8, kv_lora_rank=8, qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=8, dim_model_base=8
    ),
    "softcapped": lambda: Gemma2Config(**SMALL, head_dim=16, final_logit_softcapping=2.0),
}


def made(name: str) -> Any:
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(MODELS[name]()).eval()
    model.get_output_embeddings().weight.data *= 20  # so that a softcap does something
    return model


def batch() -> dict[str, Any]:
    ids = torch.randint(1, 50, (3, 7))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


@pytest.mark.parametrize("name", MODELS)
def test_hidden_states_and_head_make_the_logits_of_the_model(name: str) -> None:
    model, inputs = made(name), batch()
    whole = outputs_of(model, model, inputs, whose="student", logits=True, hidden_states=True)
    short = outputs_of(model, model, inputs, whose="student", hidden_states=True)
    assert whole.hidden is None
    assert short.logits is None
    assert short.head is not None
    torch.testing.assert_close(short.head.logits(short.hidden), whole.logits, rtol=1e-4, atol=1e-4)
    for one, other in zip(short.hidden_states or (), whole.hidden_states or (), strict=True):
        torch.testing.assert_close(one, other)
    assert not model.get_output_embeddings()._forward_pre_hooks


def test_a_head_that_does_more_is_refused() -> None:
    model = made("llama")
    forward = model.forward

    def odd(*args: Any, **options: Any) -> Any:
        found = forward(*args, **options)
        found.logits = found.logits + 5
        return found

    model.forward = odd
    with pytest.raises(ConfigError, match=r"the teacher makes its logits in a way of its own.*fused=False"):
        outputs_of(model, model, batch(), whose="teacher")
    assert not model.get_output_embeddings()._forward_pre_hooks


def test_a_head_that_is_called_twice_is_refused() -> None:
    model = made("llama")

    def once_more(module: Any, args: Any, found: Any) -> None:
        model.lm_head(found[0])

    model.model.register_forward_hook(once_more)
    with pytest.raises(ConfigError, match=r"the student's head was called 2 times"):
        outputs_of(model, model, batch(), whose="student")


def test_a_head_that_is_no_linear_layer_is_refused() -> None:
    model = made("llama")
    model.lm_head = torch.nn.Sequential(model.lm_head)
    with pytest.raises(ConfigError, match=r"the student's head is a Sequential.*fused=False"):
        outputs_of(model, model, batch(), whose="student")
    assert outputs_of(model, model, batch(), whose="student", logits=True).logits is not None
