"""Text from programs and models, made fit to be kept and shown."""

from __future__ import annotations

import ast

from hypothesis import given
from hypothesis import strategies as st

from cot_distill.printable import printable

ANY = st.text(st.characters(codec=None, exclude_categories=()))


@given(ANY)
def test_whatever_comes_can_be_kept_and_orders_no_terminal_about(text: str) -> None:
    shown = printable(text)
    shown.encode()
    assert not any((ord(sign) < 32 and sign not in "\n\t") or 127 <= ord(sign) < 160 for sign in shown)
    assert printable(shown) == shown


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")) | st.sampled_from("\n\t\\")))
def test_what_is_text_already_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@given(ANY.filter(lambda text: "\\" not in text))
def test_an_escape_is_that_of_python(text: str) -> None:
    literal = printable(text).replace("'", "\\'").replace("\n", "\\n")
    assert ast.literal_eval(f"'{literal}'") == text
