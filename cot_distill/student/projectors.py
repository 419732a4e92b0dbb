"""From the width of a student to that of its teacher."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from cot_distill.errors import ConfigError
from cot_distill.student.positions import one_of

__all__ = ["Init", "Projector"]

Init = Literal["identity", "orthogonal", "xavier"]


class Projector(nn.Linear):  # type: ignore[misc] # torch is not there when types are checked
    """A linear map of hidden states, learned with the student and thrown away after.

    It is no part of the student: keep it beside it, with a parameter group of its own. It computes in the type of its
    own weights: left in float32 it learns well also where the student is bfloat16.

    Args:
        d_student: Width of the student's hidden states.
        d_teacher: Width of the teacher's.
        init: What it begins as. "identity" leaves everything as it is, and needs equal widths; "orthogonal" keeps
            lengths and angles where the teacher is the wider one (Saxe et al., arXiv:1312.6120); "xavier" is that of
            Glorot and Bengio (2010), uniform. Default: "identity" where the widths are equal, else "orthogonal".
        bias: Whether to add a learned vector, from 0.

    Raises:
        ConfigError: An unknown init, or "identity" with unequal widths.

    Example:
        >>> import torch
        >>> Projector(64, 96)(torch.zeros(2, 5, 64)).shape
        torch.Size([2, 5, 96])
    """

    def __init__(self, d_student: int, d_teacher: int, *, init: Init | None = None, bias: bool = False) -> None:
        init = init or ("identity" if d_student == d_teacher else "orthogonal")
        one_of("init", init, Init)
        if init == "identity" and d_student != d_teacher:
            raise ConfigError(
                f"init='identity' needs equal widths, and these are {d_student} and {d_teacher}: take 'orthogonal'"
            )
        super().__init__(d_student, d_teacher, bias=bias)
        begin = {"identity": nn.init.eye_, "orthogonal": nn.init.orthogonal_, "xavier": nn.init.xavier_uniform_}
        begin[init](self.weight)
        if bias:
            nn.init.zeros_(self.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map hidden states.

        Args:
            hidden: (..., d_student), of any floating type.

        Returns:
            (..., d_teacher), of the projector's own type.
        """
        return super().forward(hidden.to(self.weight.dtype))
