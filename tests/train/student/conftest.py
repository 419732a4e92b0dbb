"""The same random numbers in every run, in whatever order the tests come."""

from __future__ import annotations

import importlib.util

import pytest


@pytest.fixture(autouse=True)
def seed() -> None:
    if importlib.util.find_spec("torch"):
        import torch

        torch.manual_seed(0)
