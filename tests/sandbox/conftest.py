"""Sandboxes for the tests of this directory: one of each kind that works here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cot_distill.sandbox import LocalSandbox, probe

WORKING = [name for name, trouble in probe().items() if trouble is None]
NOTHING = pytest.param(None, marks=pytest.mark.skip(reason=f"nothing can keep a program in here: {probe()}"))


def made(name: str) -> Iterator[LocalSandbox]:
    sandbox = LocalSandbox(workers=1, _tier=name)
    yield sandbox
    sandbox.close()


@pytest.fixture(scope="session", params=WORKING[:2] or [NOTHING])
def sandbox(request: pytest.FixtureRequest) -> Iterator[LocalSandbox]:
    """With and without bubblewrap, where both work; one program at a time."""
    yield from made(request.param)


@pytest.fixture(scope="session", params=WORKING[1:2] or [NOTHING])
def weaker(request: pytest.FixtureRequest) -> Iterator[LocalSandbox]:
    """The second strongest: without bubblewrap, where that works."""
    yield from made(request.param)


@pytest.fixture(scope="session", params=WORKING or [NOTHING])
def any_sandbox(request: pytest.FixtureRequest) -> Iterator[LocalSandbox]:
    """Each way of keeping a program in, for what must be tried in all of them."""
    yield from made(request.param)


@pytest.fixture(scope="session", params=WORKING[:1] or [NOTHING])
def strongest(request: pytest.FixtureRequest) -> Iterator[LocalSandbox]:
    """The strongest way, for what does not depend on it."""
    yield from made(request.param)
