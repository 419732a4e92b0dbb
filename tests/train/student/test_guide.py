"""The guide on training a student: every block runs as it stands, with models of two layers under the names in it."""

from __future__ import annotations

import functools
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

trl = pytest.importorskip("trl")

from safetensors.torch import load_file  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

from cot_distill import student as package  # noqa: E402

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(120)]

GUIDE = Path(__file__).parents[3] / "docs" / "student.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
SMALL = {"max_steps": 2, "report_to": "none", "use_cpu": True, "bf16": False, "disable_tqdm": True}


def test_every_block_of_the_guide_runs(
    student: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-8B"):
        shutil.copytree(student, tmp_path / name)
    for module, name in ((trl, "SFTConfig"), (package, "DistillationConfig")):
        monkeypatch.setattr(module, name, functools.partial(getattr(module, name), **SMALL))
    assert len(BLOCKS) == 9
    namespace: dict[str, Any] = {}
    for block in BLOCKS:
        exec(block.replace("max_new_tokens=2048", "max_new_tokens=20"), namespace)
    printed = capsys.readouterr().out
    assert "['id', 'attempt', 'input_ids', 'labels', 'spans']" in printed
    assert "0% right, 0% well formed" in printed
    for name in ("text", "logits"):
        loaded, found = AutoModelForCausalLM.from_pretrained(f"students/{name}", output_loading_info=True)
        assert not found["missing_keys"]
        assert not found["unexpected_keys"]
        assert len(AutoTokenizer.from_pretrained(f"students/{name}")) == loaded.config.vocab_size
    assert load_file("students/features/checkpoint-2/projectors.safetensors")


def test_the_recipe_for_text_alone_has_six_lines() -> None:
    (recipe,) = (block for block in BLOCKS if "SFTTrainer" in block)
    assert len([line for line in recipe.splitlines() if line]) == 6


def test_the_table_of_logs_holds_what_is_logged(
    student: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = GUIDE.read_text("utf-8").partition("## What is logged")[2].partition("\n## ")[0]
    listed = {name for row in table.splitlines() if row.startswith("| `") for name in re.findall(r"`([\w/]+)`", row)}
    model = AutoModelForCausalLM.from_pretrained(student, attn_implementation="eager")
    teacher = package.LocalTeacher(AutoModelForCausalLM.from_pretrained(student, attn_implementation="eager"))
    rows = [{"input_ids": [5, 6, 7, 8], "labels": [-100, 6, 7, 8], "spans": [0, 1, 2, 3]}]
    config = package.DistillationConfig(
        str(tmp_path), feature_weight=1.0, attention_weight=1.0, **SMALL, logging_steps=1
    )
    trainer = package.DistillationTrainer(model, config, teacher, train_dataset=rows)
    trainer.train()
    of_transformers = {"epoch", "step", "grad_norm", "learning_rate"}
    assert trainer.state.log_history[0].keys() - of_transformers == listed
