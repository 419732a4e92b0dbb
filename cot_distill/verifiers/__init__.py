"""Judges of a trace: right, wrong, or cannot tell."""

from __future__ import annotations

from cot_distill.verifiers.boxed import boxed
from cot_distill.verifiers.choice import choice
from cot_distill.verifiers.compare import Preference, compare
from cot_distill.verifiers.contains_code import contains_code
from cot_distill.verifiers.exact import exact
from cot_distill.verifiers.isolated import isolated
from cot_distill.verifiers.json_schema import json_schema
from cot_distill.verifiers.judge import judge
from cot_distill.verifiers.language import language
from cot_distill.verifiers.leaks import leaks
from cot_distill.verifiers.length import length
from cot_distill.verifiers.majority import majority
from cot_distill.verifiers.math import math
from cot_distill.verifiers.numeric import numeric
from cot_distill.verifiers.phrases import phrases, self_reference
from cot_distill.verifiers.quality import quality
from cot_distill.verifiers.refusal import refusal
from cot_distill.verifiers.regex import regex
from cot_distill.verifiers.repetition import repetition
from cot_distill.verifiers.scripts import scripts
from cot_distill.verifiers.thinks_first import thinks_first
from cot_distill.verifiers.unit_tests import unit_tests

__all__ = [
    "Preference",
    "boxed",
    "choice",
    "compare",
    "contains_code",
    "exact",
    "isolated",
    "json_schema",
    "judge",
    "language",
    "leaks",
    "length",
    "majority",
    "math",
    "numeric",
    "phrases",
    "quality",
    "refusal",
    "regex",
    "repetition",
    "scripts",
    "self_reference",
    "thinks_first",
    "unit_tests",
]
