"""Batch jobs: asking a provider many things at once, at half price, for an answer within a day.

:mod:`~cot_distill.batch.facts` is the table of who takes jobs and in what form; the two families of formats are
:mod:`~cot_distill.batch.openai_files` and :mod:`~cot_distill.batch.anthropic_batches`.
:mod:`~cot_distill.batch.spool` holds what is asked on disk, and :mod:`~cot_distill.batch.jobs` what became of it.
:mod:`~cot_distill.batch.batch_client` sends and fetches, :mod:`~cot_distill.batch.submitting` sees to it that a job
is made once. What an answer means for a run is in :mod:`cot_distill.batching`.
"""

from __future__ import annotations

from cot_distill.batch.jobs import open_jobs

__all__ = ["open_jobs"]
