"""The card of a dataset: who made it, with what, and how many attempts it took."""

from __future__ import annotations

from cot_distill.recipe import Recipe
from cot_distill.report import Report

__all__ = ["dataset_card"]


def dataset_card(recipe: Recipe, report: Report) -> str:
    """Markdown with YAML front matter, as the Hugging Face Hub shows it.

    Rows of the demo teacher are tagged ``cot-distill-demo``, and the card says that a program wrote them.
    """
    demo = recipe.teacher == "demo" or any("cot-distill-demo" in model for model in report.models)  # in a mix, say
    tags = ["reasoning", "distillation", "chain-of-thought", *(["cot-distill-demo"] if demo else [])]
    origin = (
        "**Written by a program, not by a language model:** a demonstration of the tool, worthless for training."
        if demo
        else f"Reasoning traces of the teacher `{recipe.teacher}`."
    )
    settings = recipe.sampling.model_dump(exclude_none=True, exclude_defaults=True)
    lines = [
        "---",
        "tags:",
        *(f"- {tag}" for tag in tags),
        f"size_categories:\n- {_size(report.samples)}",
        "---",
        "",
        "# Reasoning traces",
        "",
        origin,
        "",
        "| | |",
        "|---|---|",
        f"| teacher | `{recipe.teacher}` |",
        f"| models, as the server named them | {', '.join(f'`{name}`' for name in report.models)} |",
        f"| started | {recipe.created} |",
        f"| sampling | `{settings or 'the defaults of the endpoint'}` |",
        f"| template | `{recipe.template.name}` ({recipe.template.digest}) |",
        f"| attempts a task | {recipe.attempts} |",
        f"| verifiers | {', '.join(f'`{name}`' for name in recipe.verifiers) or 'none'} |",
        f"| made with | cot_distill {recipe.version} |",
        "",
        "## What became of the attempts",
        "",
        "| | |",
        "|---|---|",
        f"| asked | {report.asked} attempts at {report.tasks} tasks |",
        f"| samples | {report.samples}: {report.passed} passed, {report.wrong} wrong, {report.unjudged} not judged |",
        *(f"| wrong by `{name}` | {count} |" for name, count in report.rejected.items()),
        *(f"| failed: {kind} | {count} |" for kind, count in report.failures.items()),
        f"| tokens | {report.prompt_tokens} prompt, {report.completion_tokens} completion |",
        *_chosen(report),
        "",
        "Check the terms of the teacher's provider before you train on these rows or share them.",
        "",
    ]
    return "\n".join(lines)


def _chosen(report: Report) -> list[str]:
    """How the rows were chosen, where that is known."""
    if not report.funnel:
        return []
    stages = (f"| `{stage.name}` | {stage.came_in} | {stage.went_out} |" for stage in report.funnel)
    return ["", "## How the rows were chosen", "", "| stage | samples in | out |", "|---|---|---|", *stages]


def _size(rows: int) -> str:
    """The Hub's category for a number of rows."""
    steps = ("1K", "10K", "100K", "1M", "10M", "100M", "1B")
    if rows < 1000:
        return "n<1K"
    above = min(len(str(rows)) - 4, len(steps) - 2)
    return f"{steps[above]}<n<{steps[above + 1]}"
