"""Rewards for training by reinforcement: how good is what the student itself wrote?

Each reward looks at one thing only, and never at what another one looks at: the length at the thinking, correctness
at what follows it. They have the signature of TRL's GRPO and RLOO trainers, and need neither TRL nor torch.
"""

from __future__ import annotations

from cot_distill.rewards.combine import combine
from cot_distill.rewards.form import no_leak, think_format
from cot_distill.rewards.length import reasoning_length
from cot_distill.rewards.reading import Reward
from cot_distill.rewards.verified import answer_correct, from_verifier

__all__ = [
    "Reward",
    "answer_correct",
    "combine",
    "from_verifier",
    "no_leak",
    "reasoning_length",
    "think_format",
]
