"""Whether the parts of the extra ``fast`` are there. They make the library faster and change nothing else."""

from __future__ import annotations

import functools
import importlib.util
import os

__all__ = ["is_faster_with"]


@functools.cache
def is_faster_with(module: str) -> bool:
    """Whether a module of the extra ``fast`` is installed and not switched off with ``COT_DISTILL_FAST=0``."""
    return os.environ.get("COT_DISTILL_FAST") != "0" and importlib.util.find_spec(module) is not None
