"""The tasks of the proof, the program that teaches them, and the tokenizer and the models that learn.

A *chain* is a number of operations from left to right, of which the last digit is asked: ``7+8*3-5=``. No step makes
one digit likelier than another, so that whoever guesses is right one time in ten.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from cot_distill import Completion, Message, Sampling, Task, formatters

__all__ = ["FORMATTER", "ChainTeacher", "chains", "make_model", "make_tokenizer", "parameters"]

FORMATTER = formatters.messages(thinking="reasoning_content")
"""How samples go into the chat template below."""

_TEMPLATE = (
    "{% for turn in messages %}{% if turn.role == 'user' %}{{ turn.content }}"
    "{% else %}{% if turn.reasoning_content %}<think>{{ turn.reasoning_content }}</think>{% endif %}"
    "{{ turn.content }}<end>{% endif %}{% endfor %}"
)


def chains(number: int, k: int | tuple[int, int], *, seed: int) -> Iterator[Task]:
    """Make tasks, no two of them alike.

    Args:
        number: How many.
        k: Operations of each; or the fewest and the most, of which each occurs equally often.
        seed: Another seed gives other tasks.
    """
    low, high = (k, k) if isinstance(k, int) else k
    dice = Random(seed)
    seen: set[str] = set()
    while len(seen) < number:
        steps = low + len(seen) % (high - low + 1)
        text = str(dice.randrange(10))
        for _ in range(steps):
            operation = dice.choice("+-*")
            text += operation + str(dice.choice((1, 3, 7, 9)) if operation == "*" else dice.randrange(10))
        if text not in seen:
            seen.add(text)
            yield Task(id=f"{seed}-{len(seen)}", instruction=f"{text}=", answer=_steps(text)[-1][-1])


class ChainTeacher:
    """A program that thinks step by step, and errs: a Teacher.

    Args:
        wrong: Share of answers with a slip in one step, with which it then goes on.
        cut: Share of answers that end in the middle of the reasoning.
    """

    name = "chain-program"

    def __init__(self, *, wrong: float = 0.1, cut: float = 0.05) -> None:
        self._wrong = wrong
        self._cut = cut

    async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Completion:
        """Solve a chain."""
        text = messages[-1].content.removesuffix("=")
        dice = Random(text)
        wrong, cut = dice.random() < self._wrong, dice.random() < self._cut
        steps = _steps(text, slip=dice.randrange(len(text) // 2) if wrong else None)
        reasoning, answer = ";".join(steps), steps[-1][-1]
        if cut:
            return Completion(reasoning=reasoning[: len(reasoning) // 2], content="", finish_reason="length")
        return Completion(reasoning=reasoning, content=answer, finish_reason="stop", trace_kind="full")


def _steps(text: str, *, slip: int | None = None) -> list[str]:
    """``["7+8=5", "5*3=5"]`` for ``"7+8*3"``; the step ``slip`` comes out one too high."""
    value, steps = int(text[0]), []
    for number, place in enumerate(range(1, len(text), 2)):
        operation, other = text[place], int(text[place + 1])
        result = value + other if operation == "+" else value - other if operation == "-" else value * other
        result = (result + (number == slip)) % 10
        steps.append(f"{value}{operation}{other}={result}")
        value = result
    return steps


def make_tokenizer() -> Any:
    """A tokenizer with a token for each character, and the chat template that goes with it."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<end>"]
    words = [*special, "<unk>", "<think>", "</think>", *"0123456789+-*=;"]
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    made.decoder = decoders.Fuse()
    made.add_tokens([AddedToken(tag, normalized=False) for tag in ("<think>", "</think>")])
    made.add_special_tokens(special)
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="<end>", padding_side="left", chat_template=_TEMPLATE
    )


def make_model(tokenizer: Any, width: int, layers: int, *, seed: int) -> Any:
    """A Llama with random weights.

    Args:
        tokenizer: Gives the size of the vocabulary.
        width: Of the hidden states; heads are 32 wide, or 64 from a width of 512 on.
        layers: Number of blocks.
        seed: Of the weights.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    heads = width // (32 if width < 512 else 64)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=width * 3,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=1024,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config)


def parameters(model: Any) -> int:
    """How many numbers a model learns."""
    return sum(parameter.numel() for parameter in model.parameters())
