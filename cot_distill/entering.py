"""``async with`` for what may be an async context manager, or may not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

__all__ = ["entered"]


@asynccontextmanager
async def entered(resource: object) -> AsyncIterator[None]:
    """Enter ``resource`` for the block if it is an async context manager; else do nothing."""
    if isinstance(resource, AbstractAsyncContextManager):
        async with resource:
            yield
    else:
        yield
