"""A Jinja template is rendered as transformers renders it, and stays in its sandbox."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("jinja2", reason="chat templates are Jinja: install the extra 'template'")

from cot_distill.errors import ConfigError, MissingExtraError
from cot_distill.jinja_template import JinjaTemplate

TURNS = "{% for turn in messages %}<{{ turn.role }}>{{ turn.content }}<end>{% endfor %}"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ {'a': '<é>'} | tojson }}", '{"a": "<é>"}'),
        ("{{ {'a': 1} | tojson(indent=1) }}", '{\n "a": 1\n}'),
        ("  {% if true %}\n  x\n  {% endif %}\ny", "  x\ny"),  # blocks leave neither indent nor line break
        ("{% for turn in messages %}{% break %}{% endfor %}{{ messages | length }}", "1"),
        ("{% generation %}{{ messages[0].content }}{% endgeneration %}!", "hi!"),
        ("{{ strftime_now('%%') }}{{ bos_token }}{{ eos_token }}{{ tools is none }}", "%<s></s>True"),
        ("{% set ns = namespace(n=1) %}{% set ns.n = 2 %}{{ ns.n }}", "2"),
    ],
)
def test_rendering(template: str, expected: str) -> None:
    assert JinjaTemplate(template).apply_chat_template([{"role": "user", "content": "hi"}]) == expected


@pytest.mark.parametrize(
    "attack",
    ["{{ messages.__class__.__mro__ }}", "{{ messages.append(1) }}", "{{ cycler.__init__.__globals__ }}"],
)
def test_templates_stay_in_their_sandbox(attack: str) -> None:
    with pytest.raises(ConfigError, match=r"refused by the template"):
        JinjaTemplate(attack).apply_chat_template([{"role": "user", "content": "hi"}])


def test_generated_text() -> None:
    template = JinjaTemplate(
        "{% for t in messages %}<{% generation %}{{ t.content }}{% endgeneration %}>{% endfor %}"
    )
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert template.generated(turns) == "ab"
    assert template.apply_chat_template(turns) == "<a><b>"
    assert JinjaTemplate(TURNS).generated(turns) is None


def test_a_template_makes_no_tokens() -> None:
    with pytest.raises(ConfigError, match="pass the student's tokenizer"):
        JinjaTemplate(TURNS).apply_chat_template([], tokenize=True)


def test_without_jinja_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"cot_distill\[template\]"):
        JinjaTemplate(TURNS + "{# one that was not compiled before #}")
