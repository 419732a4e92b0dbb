"""What headers say about an account's allowance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill.teachers.waits import allowance
from cot_distill.types import Allowance, Quota

NOW = 1_700_000_000.0

OPENAI = {
    "x-ratelimit-limit-requests": "5000",
    "x-ratelimit-remaining-requests": "4999",
    "x-ratelimit-reset-requests": "12ms",
    "x-ratelimit-limit-tokens": "160000",
    "x-ratelimit-remaining-tokens": "159976",
    "x-ratelimit-reset-tokens": "6m0s",
}
ANTHROPIC = {
    "anthropic-ratelimit-requests-limit": "50",
    "anthropic-ratelimit-requests-remaining": "0",
    "anthropic-ratelimit-requests-reset": "2023-11-14T22:13:25Z",
    "anthropic-ratelimit-tokens-limit": "40000",
    "anthropic-ratelimit-tokens-remaining": "39000",
    "anthropic-ratelimit-tokens-reset": "2023-11-14T22:13:21.5Z",
}


def test_openai() -> None:
    assert allowance(OPENAI, now=NOW) == Allowance(Quota(4999, 5000, 0.012), Quota(159976, 160000, 360.0))


def test_anthropic() -> None:
    found = allowance(ANTHROPIC, now=NOW)
    assert found == Allowance(Quota(0, 50, 5.0), Quota(39000, 40000, 1.5))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"x-ratelimit-remaining-requests": "5"}, None),  # without a time it says nothing
        ({"x-ratelimit-remaining-requests": "5", "x-ratelimit-reset-requests": "soon"}, None),
        ({"x-ratelimit-remaining-requests": "-1", "x-ratelimit-reset-requests": "1"}, None),  # "no limit" of some
        ({"x-ratelimit-remaining-requests": "5", "x-ratelimit-reset-requests": "0"}, None),
        ({"x-ratelimit-remaining-requests": "5", "x-ratelimit-reset-requests": "24h"}, None),  # a day's quota
        (
            {"x-ratelimit-remaining-requests": "5", "x-ratelimit-reset-requests": "1700000002"},
            Allowance(Quota(5, None, 2.0)),
        ),
        (
            {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-limit-tokens": "0", "x-ratelimit-reset-tokens": "2.5"},
            Allowance(None, Quota(0, None, 2.5)),
        ),
    ],
)
def test_odd_ones(headers: dict[str, str], expected: Allowance | None) -> None:
    assert allowance(headers, now=NOW) == expected


@given(st.dictionaries(st.sampled_from(sorted({**OPENAI, **ANTHROPIC})), st.text(max_size=30)))
def test_any_text_at_all(headers: dict[str, str]) -> None:
    found = allowance(headers, now=NOW)
    for quota in found or ():
        assert quota is None or (quota.remaining >= 0 and 0 < quota.resets_in <= 900)
