"""``async with`` for what may be an async context manager, or may not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

__all__ = ["entered"]


@asynccontextmanager
async def entered(*resources: object) -> AsyncIterator[None]:
    """Enter those of ``resources`` that are async context managers for the block; the others are left alone."""
    async with AsyncExitStack() as stack:
        for resource in resources:
            if isinstance(resource, AbstractAsyncContextManager):
                await stack.enter_async_context(resource)
        yield
