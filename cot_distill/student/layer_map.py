"""Which layers of a student learn from which layers of its teacher. Knows no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cot_distill.errors import ConfigError

__all__ = ["LayerMap"]


@dataclass(frozen=True)
class LayerMap:
    """Pairs of layers, of student and teacher.

    Layers are numbered as ``hidden_states`` of transformers is: 0 is the embeddings, 1 to n are the outputs of the n
    blocks, the last one *after* the final norm. Negative numbers count from the end, -1 is the last block. The
    attention map of block i is ``attentions[i - 1]``; the embeddings have none.

    Args:
        pairs: (layer of the student, layer of the teacher).

    Raises:
        ConfigError: There is no pair, one of them is no pair of numbers, or one comes twice.
    """

    pairs: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        if not self.pairs:
            raise ConfigError("a layer map needs at least one pair, such as LayerMap.last(1)")
        if len(set(self.pairs)) < len(self.pairs):
            raise ConfigError(f"a layer map names a pair twice: {self.pairs}")

    @classmethod
    def explicit(cls, pairs: Iterable[Sequence[int]]) -> LayerMap:
        """Name the pairs one by one.

        Args:
            pairs: (layer of the student, layer of the teacher).

        Raises:
            ConfigError: One of them is no pair of numbers.

        Example:
            >>> LayerMap.explicit([(1, 2), (-1, -1)]).pairs
            ((1, 2), (-1, -1))
        """
        found = [tuple(pair) for pair in pairs]
        for pair in found:
            if len(pair) != 2 or not all(isinstance(layer, int) for layer in pair):
                raise ConfigError(f"{pair!r} is no pair of layer numbers (student, teacher)")
        return cls(tuple((student, teacher) for student, teacher in found))

    @classmethod
    def even(cls, student: int, teacher: int) -> LayerMap:
        """Spread the blocks of the one evenly over those of the other, last to last.

        Every block of the shallower model has a partner; TinyBERT (Jiao et al., arXiv:1909.10351) maps its layers so.

        Args:
            student: Its number of blocks (``config.num_hidden_layers``).
            teacher: Its number of blocks.

        Raises:
            ConfigError: A number below 1.

        Example:
            >>> LayerMap.even(3, 6).pairs
            ((1, 2), (2, 4), (3, 6))
        """
        if student < 1 or teacher < 1:
            raise ConfigError(f"models have at least one block, not {student} and {teacher}")
        steps = min(student, teacher)
        return cls(tuple((step * student // steps, step * teacher // steps) for step in range(1, steps + 1)))

    @classmethod
    def last(cls, count: int = 1) -> LayerMap:
        """Pair the last blocks, whatever the depth of the two models.

        Args:
            count: How many.

        Raises:
            ConfigError: A number below 1.

        Example:
            >>> LayerMap.last(2).pairs
            ((-2, -2), (-1, -1))
        """
        if count < 1:
            raise ConfigError(f"LayerMap.last({count}) pairs nothing")
        return cls(tuple((-back, -back) for back in range(count, 0, -1)))

    def hidden(self, student: Sequence[Any] | None, teacher: Sequence[Any] | None) -> tuple[list[Any], list[Any]]:
        """Pick hidden states.

        Args:
            student: ``outputs.hidden_states`` of the student: embeddings and all blocks.
            teacher: That of the teacher.

        Returns:
            Those of the student and those of the teacher, pair by pair.

        Raises:
            ConfigError: There are none, or no layer of that number.
        """
        return self._picked(student, teacher, "hidden_states", embeddings=1)

    def attentions(self, student: Sequence[Any] | None, teacher: Sequence[Any] | None) -> tuple[list[Any], list[Any]]:
        """Pick attention maps.

        Args:
            student: ``outputs.attentions`` of the student: all blocks.
            teacher: That of the teacher.

        Returns:
            Those of the student and those of the teacher, pair by pair.

        Raises:
            ConfigError: There are none, or no layer of that number, or it is that of the embeddings.
        """
        return self._picked(student, teacher, "attentions", embeddings=0)

    def _picked(
        self, student: Sequence[Any] | None, teacher: Sequence[Any] | None, what: str, embeddings: int
    ) -> tuple[list[Any], list[Any]]:
        sides = []
        for place, (whose, found) in enumerate((("student", student), ("teacher", teacher))):
            if not found:
                raise ConfigError(f"the {whose} gave no {what}: {_WAY[what]}")
            blocks = len(found) - embeddings
            sides.append([found[_index(pair[place], blocks, whose, embeddings)] for pair in self.pairs])
        return sides[0], sides[1]


_WAY = {
    "hidden_states": "call it with output_hidden_states=True",
    "attentions": (
        'only eager attention makes maps. Call set_attn_implementation("eager") on the model, and call it with '
        "output_attentions=True"
    ),
}


def _index(layer: int, blocks: int, whose: str, embeddings: int) -> int:
    block = layer + blocks + 1 if layer < 0 else layer
    least = 1 - embeddings
    if not least <= block <= blocks or (layer < 0 and block < 1):
        raise ConfigError(
            f"the layer map names layer {layer} of the {whose}, which has the layers {least} to {blocks}"
        )
    return block - least
