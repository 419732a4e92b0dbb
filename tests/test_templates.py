"""What the teacher is asked: the question whole, the reference never, every brace that is no field left alone."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill import templates
from cot_distill.errors import ConfigError
from cot_distill.protocols import Template
from cot_distill.types import Message, Task

CONVERSATION = (
    Message(role="user", content="What is 2 + 2?"),
    Message(role="assistant", content="4"),
    Message(role="user", content="And 3 + 3?"),
)
ALL = [
    templates.solve,
    templates.solve_code,
    templates.solve_math,
    templates.from_string("Q: {instruction}"),
    templates.with_system(templates.solve, "Be brief."),
]


def ask(text: str, **task: object) -> str:
    return templates.from_string(text)(Task.model_validate({"instruction": "Why?", **task}))[-1].content


def test_solve_asks_what_the_student_will_be_asked() -> None:
    for task in (Task(instruction="Why?"), Task(instruction="Why?", system="Be kind."), Task(messages=CONVERSATION)):
        assert tuple(templates.solve(task)) == task.prompt()


@pytest.mark.parametrize("template", ALL)
def test_earlier_turns_are_kept_and_the_last_one_holds_the_question(template: Template) -> None:
    turns = [turn for turn in template(Task(messages=CONVERSATION)) if turn.role != "system"]
    assert turns[:2] == list(CONVERSATION[:2])
    assert turns[2].role == "user"
    assert "And 3 + 3?" in turns[2].content
    assert len(turns) == 3


@pytest.mark.parametrize("template", ALL)
def test_the_reference_is_never_shown(template: Template) -> None:
    task = Task(instruction="Why?", answer="SECRET ANSWER", tests="SECRET TESTS", metadata={"solution": "SECRET TOO"})
    assert "SECRET" not in repr(template(task))


@pytest.mark.parametrize("template", [templates.solve, templates.solve_code, templates.solve_math])
def test_the_system_prompt_of_the_task_is_sent_first(template: Template) -> None:
    turns = template(Task(instruction="Why?", system="Be kind."))
    assert [turn.role for turn in turns] == ["system", "user"]
    assert turns[0].content == "Be kind."


def test_solve_code_asks_for_one_block_after_the_analysis() -> None:
    content = templates.solve_code(Task(instruction="Sort {xs} in C: `int f() { return 0; }`"))[0].content
    assert content.startswith("Sort {xs} in C: `int f() { return 0; }`\n\n")
    for word in ("alternative", "complexity", "edge cases", "one fenced code block"):
        assert word in content


def test_solve_math_asks_for_a_box() -> None:
    assert r"\boxed{}" in templates.solve_math(Task(instruction="2 + 2?"))[0].content


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "b": {"c": []}}',
        "f'{x:.2f}' and f'{a.b}' and f'{x!r}'",
        "int main() { return 0; }",
        "{}",
        "{ instruction }",
        "{",
        "}",
        "{{}}",
        "{{ jinja }} {% block %}",
        r"\boxed{}",
        r"\boxed{answer}",
        r"\frac{a}{b}",
        r"\textbf{tests}",
        r"\begin{align} x_{i} &= x^{n} \end{align}",
        r"\left\{ x \right\}",
        "{1}",
        "{ä b}",
    ],
)
def test_other_braces_are_just_braces(text: str) -> None:
    # `answer`, `a` and `n` are in the metadata: LaTeX must not be filled in with them.
    asked = ask(f"{text} {{instruction}} {text}", metadata={"answer": "SECRET", "a": "SECRET", "n": "SECRET"})
    assert asked == f"{text} Why? {text}"


@given(st.text(alphabet='{}\\ \n":;[]()', max_size=20), st.text(min_size=1), st.text(max_size=20))
def test_the_question_arrives_verbatim(frame: str, question: str, end: str) -> None:
    question = f"{question} {{instruction}} {{system}} {{level}} {end}?"
    task = Task(instruction=question)
    asked = templates.from_string(f"{frame}\n{{instruction}}\n{frame}")(task)[-1].content
    assert asked == f"{frame}\n{question}\n{frame}"


def test_doubled_braces_around_a_word_write_single_ones() -> None:
    assert ask(r"{{answer}} \boxed{{answer}} {instruction}") == r"{answer} \boxed{answer} Why?"


def test_metadata_fills_fields_and_is_not_searched_for_fields_again() -> None:
    assert ask("{level}/{topic}: {instruction}", metadata={"level": 3, "topic": "{level}"}) == "3/{level}: Why?"


@pytest.mark.parametrize("metadata", [{}, {"level": None}])
def test_a_missing_field_names_the_task_and_itself(metadata: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"task 'q7' lacks 'level' in its metadata.*\{level\}"):
        ask("{level} {instruction}", id="q7", metadata=metadata)


def test_a_missing_system_prompt_names_the_task() -> None:
    with pytest.raises(ConfigError, match="task 'q7' lacks a system prompt"):
        ask("{system} {instruction}", id="q7")


@pytest.mark.parametrize("name", ["answer", "tests"])
def test_the_reference_is_refused_at_once(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"shows the teacher the reference: \{{{name}\}}"):
        templates.from_string(f"{{instruction}} {{{name}}}")


@pytest.mark.parametrize("text", ["", "Solve it.", "{instrution}", "{{instruction}}", r"\n{instruction}"])
def test_a_template_without_a_question_is_refused_at_once(text: str) -> None:
    with pytest.raises(ConfigError, match=r"put \{instruction\}"):
        templates.from_string(text)


@pytest.mark.parametrize(
    "task",
    [
        Task(instruction="Why?", system="Be kind."),
        Task(messages=(Message(role="system", content="Be kind."), Message(role="user", content="Why?"))),
    ],
)
def test_a_system_prompt_inside_the_text_is_not_sent_twice(task: Task) -> None:
    assert templates.from_string("{system} {instruction}")(task) == (Message(role="user", content="Be kind. Why?"),)


@pytest.mark.parametrize("own", [None, "Be kind."])
def test_with_system_takes_the_place_of_the_own_prompt(own: str | None) -> None:
    expected = [Message(role="system", content="Use {braces}."), Message(role="user", content="Why?")]
    task = Task(instruction="Why?", system=own)
    assert list(templates.with_system(templates.solve, "Use {braces}.")(task)) == expected
    assert list(templates.from_string("{instruction}", system="Use {braces}.")(task)) == expected


def test_a_blank_system_prompt_is_refused() -> None:
    with pytest.raises(ConfigError, match="blank"):
        templates.with_system(templates.solve, " \n")


def shout(task: Task, /) -> Sequence[Message]:
    return [Message(role="user", content=f"{task.instruction}!")]


def test_digest_is_of_what_the_teacher_is_asked() -> None:
    probe = Task(instruction="Why?")
    assert templates.digest(shout, probe) == templates.digest(lambda task: shout(task), probe)
    different = [
        templates.solve,
        shout,
        templates.solve_code,
        templates.solve_math,
        templates.with_system(shout, "Be brief."),
        templates.with_system(shout, "Be long."),
        templates.with_system(templates.solve, "Be brief."),
        templates.from_string("A {instruction}"),
        templates.from_string("B {instruction}"),
        templates.from_string("A {instruction}", system="Be brief."),
        templates.from_string("A {instruction}", system="Be long."),
    ]
    digests = [templates.digest(template, probe) for template in different]
    assert len(set(digests)) == len(different)
    assert all(int(digest, 16) for digest in digests)


def test_digest_of_a_string_needs_no_metadata() -> None:
    template = templates.from_string("{level} {instruction}", system="Be brief.")
    assert templates.digest(template, Task(instruction="a")) == templates.digest(template, Task(instruction="b"))


def test_digest_believes_the_template() -> None:
    class Own:
        digest = "abc123"

        def __call__(self, task: Task, /) -> Sequence[Message]:
            raise AssertionError("must not be rendered")

    assert templates.digest(Own(), Task(instruction="Why?")) == "abc123"


@pytest.mark.parametrize("template", ALL)
def test_templates_can_be_sent_to_another_process(template: Template) -> None:
    task = Task(instruction="Why?")
    assert pickle.loads(pickle.dumps(template))(task) == template(task)
