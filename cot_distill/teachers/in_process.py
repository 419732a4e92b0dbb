"""From ``"transformers:MODEL"`` and ``"vllm-engine:MODEL"`` to teachers in this process.

Their packages are heavy, so even their modules are imported only when somebody asks for one.
"""

from __future__ import annotations

from cot_distill.errors import ConfigError
from cot_distill.protocols import Teacher

__all__ = ["IN_PROCESS", "open_in_process"]

IN_PROCESS = frozenset({"transformers", "vllm-engine"})
"""What stands before the colon of their specs."""


def open_in_process(spec: str, *, name: str | None, options: bool) -> Teacher:
    """Make a teacher in this process from a spec.

    Args:
        spec: Begins with one of :data:`IN_PROCESS` and a colon.
        name: Identity in the recipe of a run. Default: the spec.
        options: Whether something was set that only teachers behind an address have.

    Returns:
        The teacher, whose model is not loaded yet.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        ConfigError: The spec names no model, there are such options, or vLLM is not installed.
    """
    provider, _, model = spec.partition(":")
    if not model:
        raise ConfigError(f"{spec!r} names no model: write {provider}:MODEL, with its name on the hub or its folder")
    if options:
        raise ConfigError(f"{spec!r} runs in this process: it takes no base_url, api_key, headers or stream")
    if provider == "transformers":
        from cot_distill.teachers.local import TransformersTeacher

        return TransformersTeacher(model, name=name)
    from cot_distill.teachers.vllm_engine import VllmEngineTeacher

    return VllmEngineTeacher(model, name=name)
