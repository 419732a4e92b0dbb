"""Projectors on disk: a file beside a student, never in it."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file, save_file  # type: ignore[import-not-found, unused-ignore]
from torch import nn

from cot_distill.errors import ConfigError

__all__ = ["FILE", "load_projectors", "save_projectors"]

FILE = "projectors.safetensors"


def save_projectors(projectors: nn.ModuleList, folder: Path) -> None:
    """Write the weights of projectors; nothing, where there are none.

    Args:
        projectors: One for each pair of layers.
        folder: Of the checkpoint.
    """
    if len(projectors):
        save_file({name: value.contiguous() for name, value in projectors.state_dict().items()}, folder / FILE)


def load_projectors(projectors: nn.ModuleList, folder: Path) -> None:
    """Read their weights back; nothing, where there are none.

    Args:
        projectors: As many, of the same widths.
        folder: Of the checkpoint.

    Raises:
        ConfigError: There is no such file, or it holds others.
    """
    if not len(projectors):
        return
    file = folder / FILE
    if not file.is_file():
        raise ConfigError(f"{folder} has no {FILE}: it is of a training without hidden states (feature_weight=0)")
    found, wanted = load_file(file), projectors.state_dict()
    if {name: value.shape for name, value in found.items()} != {name: value.shape for name, value in wanted.items()}:
        raise ConfigError(
            f"{file} holds projectors for other layers or widths: train with the layer_map and the models of before"
        )
    projectors.load_state_dict(found)
