"""The card of a dataset: read back by the library that the Hub uses."""

from __future__ import annotations

from typing import Any

import pytest
from huggingface_hub import DatasetCard

from cot_distill.card import dataset_card
from cot_distill.funnel import Stage
from cot_distill.recipe import Recipe, TemplateMark
from cot_distill.report import Report
from cot_distill.types import Sampling, Task


def card(*, report: dict[str, Any] | None = None, **changes: Any) -> str:
    fields: dict[str, Any] = {
        "created": "2026-01-02T03:04:05+00:00",
        "teacher": "vllm:Qwen/QwQ-32B",
        "template": TemplateMark(name="solve_math", digest="abc123", probe=Task(instruction="the first question")),
        "sampling": Sampling(temperature=0.6, max_tokens=4096),
        "attempts": 2,
        "verifiers": ("exact", "short"),
    }
    counts: dict[str, Any] = dict.fromkeys(Report.model_fields, 0)
    counts |= {
        "path": "runs/r1",
        "teacher": "vllm:Qwen/QwQ-32B",
        "models": {"Qwen/QwQ-32B": 1200, "Qwen/QwQ-32B-AWQ": 3},
        "tasks": 700,
        "asked": 1234,
        "samples": 1203,
        "passed": 1100,
        "wrong": 93,
        "unjudged": 10,
        "failures": {"truncated": 27, "refused": 4},
        "rejected": {"exact": 90, "short": 5},
        "cut": {},
        "cut_tokens": {},
        "funnel": (
            Stage(name="not wrong", came_in=1203, went_out=1110),
            Stage(name="dedup", came_in=1110, went_out=900),
        ),
    }
    return dataset_card(Recipe(**{**fields, **changes}), Report(**{**counts, **(report or {})}))


def test_it_says_who_made_the_rows_with_what_and_how_many_attempts_it_took() -> None:
    text = card()
    for line in (
        "Reasoning traces of the teacher `vllm:Qwen/QwQ-32B`.",
        "| models, as the server named them | `Qwen/QwQ-32B`, `Qwen/QwQ-32B-AWQ` |",
        "| started | 2026-01-02T03:04:05+00:00 |",
        "| sampling | `{'temperature': 0.6, 'max_tokens': 4096}` |",
        "| template | `solve_math` (abc123) |",
        "| attempts a task | 2 |",
        "| verifiers | `exact`, `short` |",
        "| asked | 1234 attempts at 700 tasks |",
        "| samples | 1203: 1100 passed, 93 wrong, 10 not judged |",
        "| failed: truncated | 27 |",
        "| failed: refused | 4 |",
    ):
        assert line in text.splitlines()
    assert "Check the terms" in text
    assert "the first question" not in text  # a task may be private; the digest is enough


def test_defaults_are_called_defaults() -> None:
    text = card(sampling=Sampling(), verifiers=())
    assert "| sampling | `the defaults of the endpoint` |" in text
    assert "| verifiers | none |" in text


def test_the_hub_can_read_its_front_matter() -> None:
    read = DatasetCard(card())
    assert read.data.get("tags") == ["reasoning", "distillation", "chain-of-thought"]
    assert read.data.get("size_categories") == ["1K<n<10K"]
    assert read.text.lstrip().startswith("# Reasoning traces")


@pytest.mark.parametrize(
    ("samples", "size"),
    [
        (0, "n<1K"),
        (999, "n<1K"),
        (1000, "1K<n<10K"),
        (10_000, "10K<n<100K"),
        (100_000, "100K<n<1M"),
        (999_999, "100K<n<1M"),
    ],
)
def test_the_size_is_one_of_the_hubs_categories(samples: int, size: str) -> None:
    assert DatasetCard(card(report={"samples": samples})).data.get("size_categories") == [size]


def test_rows_of_the_demo_are_marked_as_worthless() -> None:
    text = card(teacher="demo")
    assert "cot-distill-demo" in DatasetCard(text).data.get("tags")
    assert "Written by a program, not by a language model" in text
    assert "cot-distill-demo" not in card()
