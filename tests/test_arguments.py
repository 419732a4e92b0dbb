"""What is wrong with an argument shows when it is given, in one sentence that names it and the way out."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import pytest

from cot_distill import Distiller, Verdict, filters, pairs, rewards, verifiers, writers
from cot_distill.arguments import check_verifier, shown, takes, uncalled
from cot_distill.errors import ConfigError
from cot_distill.testing import ScriptedTeacher
from cot_distill.types import Task, Trace

TEACHER = ScriptedTeacher(lambda messages: "x")


def right(task: Task, trace: Trace) -> Verdict:
    return Verdict(by="right", passed=True)


class Right:
    def __call__(self, task: Task, trace: Trace, /, *, strict: bool = False) -> Verdict:
        return Verdict(by="right", passed=True)


WRONG: list[tuple[Callable[[], Any], str]] = [
    (lambda: Distiller(TEACHER, verifiers=None), "verifiers=None: give a list of verifiers"),
    (lambda: Distiller(TEACHER, verifiers="exact"), "verifiers='exact': give a list of verifiers"),
    (lambda: Distiller(TEACHER, verifiers=["exact"]), "verifiers=[…] was given 'exact', which is no verifier"),
    (lambda: Distiller(TEACHER, verifiers=[verifiers.exact]), "was given verifiers.exact, which makes a verifier: c"),
    (lambda: Distiller(TEACHER, verifiers=[verifiers.quality()]), "was given a tuple where a verifier should be: pu"),
    (lambda: Distiller(TEACHER, verifiers=[lambda task: None]), "function <lambda>, which cannot be called with a t"),
    (lambda: Distiller(TEACHER, verifiers=[right], attempts=True), "attempts=True: must be a whole number"),
    (lambda: Distiller(TEACHER, verifiers=[right], until_passed=True), "until_passed=True: must be a whole number"),
    (lambda: Distiller(TEACHER, verifiers=[right], until_passed="1"), "until_passed='1': must be a whole number"),
    (lambda: Distiller(TEACHER, concurrency=True), "concurrency=True: must be 1 or more, or 'auto'"),
    (lambda: verifiers.boxed(verifier="exact"), "boxed(verifier=…) was given 'exact', which is no verifier"),
    (lambda: verifiers.boxed(verifier=verifiers.exact), "was given verifiers.exact, which makes a verifier: call it"),
    (lambda: verifiers.isolated(None), "isolated(verifier) was given None, which is no verifier"),
    (lambda: verifiers.isolated(right, timeout="5"), "isolated(timeout=…) takes a number, not '5'"),
    (lambda: verifiers.isolated(right, timeout=float("inf")), "isolated(timeout=…) takes a number, not inf"),
    (lambda: verifiers.isolated(right, workers=1.5), "isolated(workers=…) takes a whole number from 1 on, not 1.5"),
    (lambda: verifiers.isolated(right, memory="512"), "isolated(memory=…) takes a whole number from 1 on, not '512'"),
    (lambda: verifiers.choice(None), "choice(options) takes text, not None"),
    (lambda: verifiers.contains_code(None), "needs the name of a language, not None"),
    (lambda: verifiers.exact(extract="boxed"), "exact(extract=…) takes a function of a text, not 'boxed'"),
    (lambda: verifiers.numeric(rel_tol="1e-3"), "numeric(rel_tol=…) takes a number, not '1e-3'"),
    (lambda: verifiers.numeric(abs_tol=-1), "must not be negative"),
    (lambda: verifiers.numeric(extract=lambda: ""), "numeric(extract=…) takes a function of a text, not function <l"),
    (lambda: verifiers.json_schema("{}"), "takes a JSON schema as a dict, or a pydantic model, not '{}'"),
    (lambda: verifiers.judge(TEACHER, template="Judge {answer}"), "judge(template=…) takes a function of a task and"),
    (lambda: verifiers.judge(TEACHER, threshold="0.5"), "judge(threshold=…) takes a number, not '0.5'"),
    (lambda: verifiers.judge(TEACHER, sampling=None), "judge(sampling=…) takes Sampling(…), not None"),
    (lambda: verifiers.judge(TEACHER, rate_limit=60), "judge(rate_limit=…) takes RateLimit(…), not 60"),
    (lambda: verifiers.judge(TEACHER, name=None), "judge(name=…) takes text, not None"),
    (lambda: verifiers.compare(TEACHER, sampling={"temperature": 0}), "compare(sampling=…) takes Sampling(…), not a"),
    (lambda: verifiers.language(["en"]), "language(['en'])"),
    (lambda: verifiers.majority(None), "majority() was given None, and takes samples: run.samples() has them"),
    (lambda: verifiers.majority([None]), "majority() was given None as a sample: pass run.samples()"),
    (lambda: verifiers.majority([], minimum=True), "majority(minimum=…) takes a whole number from 1 on, not True"),
    (lambda: verifiers.majority([], share="half"), "majority(share=…) takes a number, not 'half'"),
    (lambda: verifiers.majority([], key="answer"), "majority(key=…) takes a function of a text, not 'answer'"),
    (lambda: verifiers.phrases("a b", name=None), "phrases(name=…) takes text, not None"),
    (lambda: verifiers.self_reference(""), "self_reference() takes text, not ''"),
    (lambda: verifiers.regex(None), "regex() takes a pattern as text, not None"),
    (lambda: verifiers.regex("a", flags="i"), "regex(flags=…) takes flags such as re.IGNORECASE, not 'i'"),
    (lambda: verifiers.regex("a", timeout=None), "regex(timeout=…) takes a number, not None"),
    (lambda: verifiers.repetition(share="0.3"), "repetition(share=…) takes a number, not '0.3'"),
    (lambda: verifiers.scripts(5), "scripts(5) needs an ISO 639 code"),
    (lambda: filters.limit(True), "limit(n) takes a whole number from 0 on, not True"),
    (lambda: filters.sample(5, seed="a"), "sample(seed=…) takes a whole number, not 'a'"),
    (lambda: filters.balance(by=None, per=1), "balance(by=…) takes text, not None"),
    (lambda: filters.balance(by=lambda: 1, per=1), "balance(by=…) takes a function of a sample, not function <lambd"),
    (lambda: filters.pass_rate("low", 1), "pass_rate(low) takes a number, not 'low'"),
    (lambda: filters.dedup(near="0.8"), "not '0.8'"),
    (lambda: filters.shortest(1, on_drop="print"), "shortest(on_drop=…) takes a function of a sample and a reason,"),
    (lambda: filters.passed(on_drop=lambda sample: None), "passed(on_drop=…) takes a function of a sample and a rea"),
    (lambda: filters.decontaminate(["a b"], fields=5), "decontaminate(fields=…) takes the name of a field"),
    (lambda: filters.decontaminate(["a b"], matches=""), "decontaminate(matches=…) takes a path, not ''"),
    (lambda: pairs.dpo(None), "pairs.dpo() was given None, and takes samples: run.samples() has them"),
    (lambda: pairs.dpo("rows.jsonl"), "pairs.dpo() was given 'rows.jsonl', and takes samples"),
    (lambda: pairs.kto(5), "pairs.kto() was given 5, and takes samples"),
    (lambda: pairs.grpo(None), "pairs.grpo() was given None, and takes samples"),
    (lambda: list(pairs.dpo([Task(instruction="x")])), "pairs are made of samples, not of a Task: pass run.samples("),
    (lambda: pairs.dpo([], by="verdict"), "by='verdict' must hold some of"),
    (lambda: pairs.dpo([], per_task=1.5), "per_task must be at least 1, or None for all pairs; got 1.5"),
    (lambda: pairs.dpo([], min_ratio="2"), "min_ratio must be more than 1"),
    (lambda: pairs.dpo([], by=["judge"], better="compare"), "better=… takes a function of a task and a trace and an"),
    (lambda: pairs.kto([], style=lambda: ""), "style=function <lambda> is neither"),
    (lambda: rewards.combine([rewards.no_leak()]), "combine() needs a dict with at least one reward and its weight"),
    (lambda: rewards.combine({rewards.no_leak: 1}), "was given rewards.no_leak, which makes a reward: call it, as i"),
    (lambda: rewards.combine({"no_leak": 1}), "combine() was given 'no_leak', which is no reward"),
    (lambda: rewards.combine({rewards.no_leak(): "1"}), "combine({no_leak: …}) takes a number, not '1'"),
    (lambda: rewards.combine({rewards.no_leak(): float("nan")}), "combine({no_leak: …}) takes a number, not nan"),
    (lambda: rewards.from_verifier(verifiers.exact), "from_verifier() was given verifiers.exact, which makes a veri"),
    (lambda: rewards.answer_correct(verifier="exact"), "answer_correct(verifier=…) was given 'exact', which is no v"),
    (lambda: rewards.answer_correct(column=None), "column=… takes text, not None"),
    (lambda: rewards.reasoning_length(maximum="9"), "takes a number, not '9'"),
    (lambda: rewards.think_format(prefilled="yes"), "prefilled='yes' is none of 'auto', True and False"),
    (lambda: writers.jsonl(None), "a writer takes the path of a file, not None"),
    (lambda: writers.parquet(""), "a writer takes the path of a file, not ''"),
    (lambda: writers.parquet("a.parquet", batch_size=True), "takes a whole number from 1 on, not True"),
    (lambda: writers.hugging_face(test_size="10%"), "hugging_face(test_size=…) takes a number, not '10%'"),
    (lambda: writers.hugging_face(seed="a"), "hugging_face(seed=…) takes a whole number, not 'a'"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "says"), WRONG, ids=[says[:40] for _, says in WRONG])
def test_it_is_refused_when_it_is_given(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)) as caught:
        make()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 340


@pytest.mark.parametrize(
    "verifier",
    [right, Right(), Right().__call__, functools.partial(right), lambda *both: None, verifiers.exact(), max, print],
)
def test_whatever_can_be_called_with_a_task_and_a_trace_may_judge(verifier: object) -> None:
    check_verifier(verifier, "verifiers=[…]")


def test_only_functions_of_this_library_that_make_parts_are_known_as_such() -> None:
    assert uncalled(verifiers.length, "verifiers") == "verifiers.length"
    assert uncalled(verifiers.length, "filters") is None
    assert uncalled(verifiers.exact(), "verifiers") is None
    assert uncalled(right, "verifiers") is None


def test_what_does_not_show_how_it_is_called_is_believed() -> None:
    assert takes(dict.fromkeys, 1)
    assert takes(type, 5)
    assert not takes(right, 1)


def test_a_value_is_shown_shortly_and_without_its_address() -> None:
    values = [None, 5, "x" * 100, right, Right, Right(), [right], ()]
    assert list(map(shown, values)) == [
        "None", "5", f"'{'x' * 58}…", "function right", "class Right", "a Right", "a list", "a tuple",
    ]  # fmt: skip
