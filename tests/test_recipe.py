"""``run.json``: what may change from one session to the next, and what may not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill.errors import RunError
from cot_distill.recipe import Recipe, TemplateMark
from cot_distill.types import Sampling, Task, ThinkTags

PROBE = Task(id=1, instruction="2 + 2?", metadata={"level": 3})


def recipe(**changes: Any) -> Recipe:
    fields: dict[str, Any] = {
        "created": "2026-01-02T03:04:05+00:00",
        "teacher": "vllm:Qwen/QwQ-32B",
        "template": TemplateMark(name="solve", digest="abc", probe=PROBE),
        "sampling": Sampling(temperature=0.6, max_tokens=100, extra={"a": [1]}),
        "attempts": 2,
        "verifiers": ("exact",),
    }
    return Recipe(**{**fields, **changes})


@given(
    st.builds(
        recipe,
        teacher=st.text(st.characters(exclude_categories=["Cs"])),
        attempts=st.integers(1, 9),
        verifiers=st.lists(st.sampled_from(["exact", "<lambda>", "ü"])).map(tuple),
        prefilled=st.sampled_from([True, False, "auto"]),
        tags=st.sampled_from([ThinkTags(), ThinkTags(open="◁think▷", close="◁/think▷")]),
        sampling=st.builds(Sampling, seed=st.none() | st.integers(0), top_p=st.none() | st.floats(0.01, 1)),
    )
)
def test_what_is_saved_is_loaded(tmp_path_factory: pytest.TempPathFactory, given_recipe: Recipe) -> None:
    path = tmp_path_factory.mktemp("run")
    given_recipe.save(path)
    assert Recipe.load(path) == given_recipe


def test_saving_replaces_the_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    recipe().save(tmp_path)
    recipe(attempts=5).save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    assert json.loads((tmp_path / "run.json").read_text())["attempts"] == 5


def test_there_may_be_none(tmp_path: Path) -> None:
    assert Recipe.load(tmp_path) is None
    assert Recipe.load(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", r"run\.json is no recipe that this version reads: the whole file: .*JSON"),
        (b"{", r"the whole file: .*JSON"),
        (b"[]", r"the whole file: "),
        (b'{"created": "now"}', r"teacher: Field required"),
        (b'"\xff"', r"cannot read .*run\.json: .*utf-8"),
    ],
)
def test_a_file_that_is_no_recipe_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(RunError, match=words):
        Recipe.load(tmp_path)


def test_a_recipe_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    newer = json.loads(recipe().model_dump_json()) | {"format": 2}
    (tmp_path / "run.json").write_text(json.dumps(newer))
    with pytest.raises(RunError, match=r"no recipe that this version reads: format: "):
        Recipe.load(tmp_path)


def test_a_directory_in_its_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "run.json").mkdir()
    with pytest.raises(RunError, match=r"cannot read .*run\.json"):
        Recipe.load(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"attempts": 9},
        {"attempts": 1},
        {"verifiers": ()},
        {"version": "9.9.9"},
        {"created": "later"},
        {"sampling": Sampling(temperature=0.6, max_tokens=9000, extra={"a": [1]})},
        {"sampling": Sampling(temperature=0.6, extra={"a": [1]})},
        {"sampling": Sampling(temperature=0.6, max_tokens=100, max_tokens_limit=800, extra={"a": [1]})},
        {"template": TemplateMark(name="another name", digest="abc", probe=PROBE)},
    ],
)
def test_what_only_adds_to_a_run_may_change(change: dict[str, Any]) -> None:
    recipe().require_same(recipe(**change), Path("run"))


FREE_OR_NO_NUMBER = {"max_tokens", "max_tokens_limit", "extra", "reasoning_effort"}


@pytest.mark.parametrize("field", sorted(Sampling.model_fields.keys() - FREE_OR_NO_NUMBER))
def test_every_other_setting_of_the_sampling_must_stay(field: str) -> None:
    one, other = (recipe(sampling=Sampling(**{field: value})) for value in (None, 1))
    for old, new in ((one, other), (other, one)):
        with pytest.raises(RunError, match=f"{field} was .* and is now "):
            old.require_same(new, Path("run"))


def test_all_differences_are_named_at_once_with_the_way_out() -> None:
    new = recipe(
        teacher="deepseek:deepseek-flash",
        sampling=Sampling(temperature=1.0, reasoning_effort="high", extra={"a": [1]}),
        template=TemplateMark(name="shout", digest="def", probe=PROBE),
    )
    with pytest.raises(RunError) as caught:
        recipe().require_same(new, Path("runs/r1"))
    assert str(caught.value) == (
        "runs/r1 holds answers to another recipe: the teacher was 'vllm:Qwen/QwQ-32B' and is now "
        "'deepseek:deepseek-flash'; temperature was 0.6 and is now 1.0; reasoning_effort was None and is now 'high'; "
        "the template (solve, now shout) asks in other words than before. Take another path for the new recipe, or "
        "restore the old one to go on here"
    )
