"""Generating text with a model of transformers: many answers at once, each with settings of its own.

Answers join and leave between two tokens, so that a short one never waits for a long one. transformers has continuous
batching too (5.23), and it runs on a CPU; but it knows no seed of a single request, gives no alternatives to a token,
and sets aside most of the machine's memory. Hence this one.

Everything here runs in one thread, which owns the model. Shapes: B answers, S tokens so far, V tokens there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from inspect import signature
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Answer", "Decoder"]


@dataclass(eq=False)
class Answer:
    """One answer on its way.

    Attributes:
        prompt: Ids of what it answers.
        room: Tokens that it may take.
        temperature: 0 takes the likeliest token.
        top_p: Share of the probability to choose from.
        top_k: Number of tokens to choose from; 0 for all.
        random: Draws a number a token, wherever the model runs.
        top_logprobs: How many alternatives to keep a token; None keeps not even the token's own log-probability.
        given_up: Tells whether nobody waits for it any more.
        ids: What was said so far.
        ended: The model itself came to an end.
        chances: Log-probability of each token at temperature 1.
        tops: Ids and log-probabilities of the likeliest ones at its place.
    """

    prompt: list[int]
    room: int
    temperature: float
    top_p: float
    top_k: int
    random: Random
    top_logprobs: int | None
    given_up: Callable[[], bool]
    ids: list[int] = field(default_factory=list)
    ended: bool = False
    chances: list[float] = field(default_factory=list)
    tops: list[tuple[list[int], list[float]]] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether there is nothing to add."""
        return self.ended or len(self.ids) >= self.room


class Decoder:
    """Extends answers by a token at a time.

    Args:
        model: A causal language model of transformers.
        ends: Ids of the tokens that end an answer.
    """

    def __init__(self, model: Any, ends: frozenset[int]) -> None:
        self._model = model
        self._ends = ends
        self._takes = frozenset(signature(model.forward).parameters)
        self.answers: list[Answer] = []
        self._cache: Any = None  # keys and values, row i of every layer being those of answer i
        self._mask: Any = None  # (B, S), 1 where there is a token: on the left it is padded

    @property
    def is_open(self) -> bool:
        """Whether answers may join now. States that are no list of keys cannot be put together (Mamba, windows)."""
        return not self.answers or self._can_be_cut()

    def join(self, answers: Sequence[Answer]) -> list[Answer]:
        """Read the prompts of more answers, and say the first token of each.

        Args:
            answers: At least one.

        Returns:
            Those that are whole already.
        """
        import torch
        from transformers import DynamicCache

        width = max(len(answer.prompt) for answer in answers)
        blank = [width - len(answer.prompt) for answer in answers]
        device = self._model.device
        ids = torch.tensor(
            [[0] * pad + answer.prompt for pad, answer in zip(blank, answers, strict=True)], device=device
        )
        mask = torch.tensor([[0] * pad + [1] * (width - pad) for pad in blank], device=device)
        cache = DynamicCache(config=self._model.config)
        with torch.inference_mode():
            logits = self._forward(ids, mask, (mask.cumsum(-1) - 1).clamp(min=0), cache)
            _say(answers, logits, self._ends)
            if self.answers:
                self._put_together(cache, mask)
            else:
                self._cache, self._mask = cache, mask
        self.answers += answers
        return self._settle()

    def step(self) -> list[Answer]:
        """Say one more token of every answer.

        Returns:
            Those that are whole now. They leave, and so do those that nobody waits for any more.
        """
        import torch

        with torch.inference_mode():
            latest = torch.tensor([[answer.ids[-1]] for answer in self.answers], device=self._mask.device)
            self._mask = torch.cat([self._mask, torch.ones_like(latest)], -1)
            logits = self._forward(latest, self._mask, self._mask.sum(-1, keepdim=True) - 1, self._cache)
            _say(self.answers, logits, self._ends)
        return self._settle()

    def _forward(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: Any) -> Tensor:
        """Logits of what follows, (B, V), in float32."""
        options = {"position_ids": positions, "logits_to_keep": 1}
        known = {name: value for name, value in options.items() if name in self._takes}
        found = self._model(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **known)
        return found.logits[:, -1].float()

    def _settle(self) -> list[Answer]:
        """Let go of the answers that are whole or given up, and of columns in which only padding is left."""
        import torch

        whole = [answer for answer in self.answers if answer.is_whole]
        stay = [row for row, answer in enumerate(self.answers) if not answer.is_whole and not answer.given_up()]
        if len(stay) == len(self.answers):
            return whole
        self.answers = [self.answers[row] for row in stay]
        if not stay:
            self._cache = self._mask = None
            return whole
        with torch.inference_mode():
            rows = torch.tensor(stay, device=self._mask.device)
            self._cache.batch_select_indices(rows)
            self._mask = self._mask[rows]
            first = int(self._mask.argmax(-1).min())
            if first and self._can_be_cut():
                self._mask = self._mask[:, first:]
                for layer in self._cache.layers:
                    if layer.is_initialized:
                        layer.keys, layer.values = layer.keys[..., first:, :], layer.values[..., first:, :]
        return whole

    def _can_be_cut(self) -> bool:
        from transformers.cache_utils import DynamicLayer

        return all(type(layer) is DynamicLayer for layer in self._cache.layers)

    def _put_together(self, cache: Any, mask: Tensor) -> None:
        """Add the rows of other answers below ours; the shorter ones get padding on the left."""
        import torch
        from torch.nn.functional import pad

        width = max(self._mask.shape[-1], mask.shape[-1])

        def below(ours: Tensor, theirs: Tensor) -> Tensor:  # (B, heads, S, size)
            return torch.cat([pad(part, (0, 0, width - part.shape[-2], 0)) for part in (ours, theirs)])

        for ours, theirs in zip(self._cache.layers, cache.layers, strict=True):
            if ours.is_initialized:
                ours.keys, ours.values = below(ours.keys, theirs.keys), below(ours.values, theirs.values)
        self._mask = torch.cat([pad(part, (width - part.shape[-1], 0)) for part in (self._mask, mask)])


def _say(answers: Sequence[Answer], logits: Tensor, ends: frozenset[int]) -> None:
    """Choose the next token of each answer; logits are (B, V)."""
    chosen = _choose(answers, logits).tolist()
    if any(answer.top_logprobs is not None for answer in answers):
        _keep_chances(answers, logits, chosen)
    for answer, token in zip(answers, chosen, strict=True):
        answer.ids.append(token)
        answer.ended = token in ends


def _choose(answers: Sequence[Answer], logits: Tensor) -> Tensor:
    """The ids of the chosen tokens, (B,).

    Of the tokens in order of their probability, the first is taken up to which the probabilities add up to more than
    a random number. So the same seed gives the same answer on any device, up to what rounding does to near ties.
    """
    import torch

    likeliest = logits.argmax(-1)
    hot = [row for row, answer in enumerate(answers) if answer.temperature > 0]
    if not hot:
        return likeliest
    drawn = [answers[row] for row in hot]

    def column(values: list[float], dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.tensor(values, dtype=dtype, device=logits.device)[:, None]

    ranked, order = (logits[hot] / column([answer.temperature for answer in drawn])).sort(-1, descending=True)
    p = ranked.double().softmax(-1)
    few = column([answer.top_k or p.shape[-1] for answer in drawn])
    kept = torch.arange(p.shape[-1], device=logits.device) < few
    p = p * kept
    p = p / p.sum(-1, keepdim=True)
    before = p.cumsum(-1) - p
    p = p * (before < column([answer.top_p for answer in drawn], torch.float64))
    total = p.cumsum(-1)
    lot = column([answer.random.random() for answer in drawn], torch.float64) * total[:, -1:]
    place = torch.searchsorted(total, lot, right=True).clamp(max=p.shape[-1] - 1)
    likeliest[hot] = order.gather(-1, place).squeeze(-1)
    return likeliest


def _keep_chances(answers: Sequence[Answer], logits: Tensor, chosen: Sequence[int]) -> None:
    logprobs = logits.log_softmax(-1)
    most = min(max(answer.top_logprobs or 0 for answer in answers), logits.shape[-1])
    values, ids = (part.tolist() for part in logprobs.topk(most, -1))
    for row, answer in enumerate(answers):
        if answer.top_logprobs is not None:
            count = answer.top_logprobs
            answer.chances.append(float(logprobs[row, chosen[row]]))
            answer.tops.append((ids[row][:count], values[row][:count]))
