"""Judges of a trace: right, wrong, or cannot tell."""

from __future__ import annotations

from cot_distill.verifiers.exact import exact

__all__ = ["exact"]
