"""A student that is made on the spot: a real tokenizer, and a model of a few thousand parameters. Nothing is loaded.

These tests need the packages of the extra "train", and run in a part of their own; without them they are skipped.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest

from cot_distill import Distiller, Run, sources, verifiers

if importlib.util.find_spec("trl"):  # read when these packages are imported; nothing may be sent anywhere
    os.environ.update(
        HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", DO_NOT_TRACK="1", WANDB_DISABLED="true", OMP_NUM_THREADS="1"
    )

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.reasoning_content %}<think>\n{{ message.reasoning_content }}\n</think>\n\n{% endif %}"
    "{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with right and wrong attempts at most tasks."""
    from cot_distill.teachers.demo import DemoTeacher

    distiller = Distiller(DemoTeacher(wrong=0.4, cut=0, latency=0), attempts=4, verifiers=[verifiers.exact()])
    return distiller.run(sources.demo_tasks(20), tmp_path_factory.mktemp("run") / "run", progress=False)


@pytest.fixture(scope="session")
def student(run: Run, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a student: a Qwen3 with random weights, and a tokenizer with a chat template."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    tokenizer = _tokenizer(run)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    folder = str(tmp_path_factory.mktemp("student"))
    Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def tokenizer(student: str) -> Any:
    """The student's."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(student)


@pytest.fixture
def model(student: str) -> Any:
    """The student's, as it is before training."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(student)


def _tokenizer(run: Run) -> Any:
    """Byte-level BPE over the texts of the run; think tags are tokens, but not special ones: as Qwen3 has it."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    texts = [text for s in run.samples() for text in (s.task.instruction, s.trace.reasoning, s.trace.answer)]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(texts, trainer)
    made.add_tokens([AddedToken(tag, normalized=False) for tag in ("<think>", "</think>")])
    pad, begin, end = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
    made.add_special_tokens([pad, begin, end])
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token=pad, eos_token=end, chat_template=CHATML)


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    """For the configuration of any trainer: two steps on this processor, and nothing told to anyone."""
    return {
        "output_dir": str(tmp_path / "student"),
        "max_steps": 2,
        "per_device_train_batch_size": 4,
        "logging_steps": 1,
        "learning_rate": 1e-3,
        "report_to": "none",
        "save_strategy": "no",
        "use_cpu": True,
        "bf16": False,
        "disable_tqdm": True,
        "seed": 0,
    }
