"""Which providers take batch jobs, and how they differ: a table.

This file knows names and limits, as data. Sources are the providers' own pages as of November 2026: OpenAI and Azure
(50,000 and 100,000 lines, 200 MB), Groq (50,000, 200 MB), Mistral (its own word for nearly everything), Together
(50,000, 100 MB; the file goes to a signed address), DashScope (50,000, 500 MB, 6 MB a line), Anthropic (100,000,
256 MB; the requests are the body). Megabytes are read as millions of bytes, which is right or on the safe side.

Fireworks has batch inference too, but over data sets and accounts, which is no file API: it is not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

__all__ = ["FACTS", "Facts"]

MB = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """How one provider takes batch jobs.

    Example:
        >>> FACTS["together"].size
        100000000
    """

    family: Literal["files", "messages"] = "files"
    """``files``: a file is uploaded, then named. ``messages``: Anthropic's, where the requests are the body."""
    lines: int = 50_000
    """Requests in one job at most."""
    size: int = 200 * MB
    """Bytes of its file at most."""
    line_size: int | None = None
    """Bytes of one request at most."""
    jobs: str = "/batches"
    """The path of the jobs."""
    purpose: str = "batch"
    """What an uploaded file is for, in the provider's word."""
    prefix: str = "/v1"
    """Goes before the path of the format, where a line or a job names the endpoint."""
    lean: bool = False
    """Lines hold nothing but their id and the body."""
    model_in_job: bool = False
    """The job names the model, the lines do not."""
    inputs_are_many: bool = False
    """The job names a list of files."""
    key_field: str | None = "cot_distill"
    """Under this name in the job's metadata is our key; None where a job takes none."""
    window: Mapping[str, Any] = field(default_factory=lambda: {"completion_window": "24h"}, hash=False)
    """How long the job may take."""
    paging: Literal["after", "page", "none"] = "after"
    """How the list of jobs is leafed through."""
    signed_upload: bool = False
    """The provider answers an upload with the address that the file really goes to."""
    waits_for_file: bool = False
    """A file must have been processed before a job can name it."""


_TABLE = {
    "openai": Facts(),
    "openai-responses": Facts(),
    "azure": Facts(lines=100_000, prefix="", waits_for_file=True),
    "groq": Facts(),
    "mistral": Facts(
        jobs="/batch/jobs",
        lean=True,
        model_in_job=True,
        inputs_are_many=True,
        window=MappingProxyType({"timeout_hours": 24}),
        paging="page",
    ),
    "together": Facts(
        size=100 * MB, purpose="batch-api", lean=True, key_field=None, paging="none", signed_upload=True
    ),
    "dashscope": Facts(size=500 * MB, line_size=6 * MB, key_field="ds_name"),
    "anthropic": Facts(
        family="messages", lines=100_000, size=256 * MB, jobs="/v1/messages/batches", key_field=None, window={}
    ),
}

FACTS: Mapping[str, Facts] = MappingProxyType(_TABLE)
"""The providers that take batch jobs, by the name of their preset."""
