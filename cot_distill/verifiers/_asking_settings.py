"""Looking at what is said about how a model is asked for a verdict."""

from __future__ import annotations

from cot_distill.arguments import shown
from cot_distill.errors import ConfigError
from cot_distill.limits import RateLimit
from cot_distill.types import Sampling


def check_sampling(sampling: object, rate_limit: object, function: str) -> None:
    """Refuse what does not say how to ask.

    Raises:
        ConfigError: It is something else.
    """
    if not isinstance(sampling, Sampling):
        raise ConfigError(f"{function}(sampling=…) takes Sampling(…), not {shown(sampling)}")
    if not isinstance(rate_limit, RateLimit | None):
        raise ConfigError(f"{function}(rate_limit=…) takes RateLimit(…), not {shown(rate_limit)}")
