"""Teachers: from ``"provider:model"`` to an object that answers.

:func:`open_teacher` is the one entrance. It reads the usual environment variable for the key and connects to nothing
before the first question.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from pydantic import SecretStr

from cot_distill.errors import ConfigError
from cot_distill.protocols import Teacher
from cot_distill.teachers.demo import DemoTeacher
from cot_distill.teachers.endpoint import Endpoint
from cot_distill.teachers.presets import PRESETS, Preset

__all__ = ["PRESETS", "DemoTeacher", "Preset", "open_teacher"]

_WAYS = """Ways to get a teacher:
  Distiller("deepseek:deepseek-flash")                    a provider; its key in DEEPSEEK_API_KEY or api_key=…
  Distiller("vllm:Qwen/QwQ-32B")                          a server of your own (also sglang, llamacpp, ollama, tgi)
  Distiller(open_teacher("openai:MODEL", base_url=URL))   anything else that speaks chat completions
  Distiller("demo")                                       a program that solves made-up tasks: no key, no network"""


def open_teacher(
    spec: str | None,
    *,
    base_url: str | None = None,
    api_key: str | SecretStr | None = None,
    name: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 1800.0,
) -> Teacher:
    """Make a teacher from a spec.

    Args:
        spec: ``"provider:model"``, split at the first colon, or ``"demo"``. The providers are the keys of
            :data:`PRESETS`.
        base_url: Another address than the provider's own, up to where ``/chat/completions`` follows.
        api_key: Default: the provider's usual environment variable.
        name: Identity in the recipe of a run. Default: the spec, with the host where ``base_url`` is not a usual one.
        headers: Sent with every request.
        timeout: Seconds that one answer may take in all, thinking included.

    Raises:
        ConfigError: No spec, an unknown provider, no model, no key, or a base URL that is none.

    Example:
        >>> open_teacher("vllm:Qwen/QwQ-32B", base_url="http://gpu-7:8000/v1").name
        'vllm:Qwen/QwQ-32B'
    """
    if spec is None:
        raise ConfigError(f"no teacher given. {_WAYS}")
    if spec == "demo":
        return DemoTeacher()
    provider, _, model = spec.partition(":")
    if provider not in PRESETS:
        raise ConfigError(f"{spec!r}: there is no provider {provider!r}. Known: {', '.join(sorted(PRESETS))}, demo")
    if not model:
        raise ConfigError(f"{spec!r} names no model: write {provider}:MODEL, with the model as the endpoint names it")
    preset = PRESETS[provider]
    address = base_url or preset.base_url
    elsewhere = base_url is not None and base_url.rstrip("/") != preset.base_url.rstrip("/")
    key = _key(preset, api_key)
    if key is None and preset.needs_key and not _is_local(address):
        raise ConfigError(f"no key for {provider}: set {' or '.join(preset.key_env)}, or pass api_key=…. {_WAYS}")
    if name is None:
        name = f"{spec}@{urlsplit(address).netloc}" if elsewhere and not preset.local else spec
    return Endpoint(
        name=name,
        model=model,
        preset=preset,
        base_url=address,
        api_key=key,
        headers=headers or {},
        timeout=timeout,
    )


def _key(preset: Preset, given: str | SecretStr | None) -> SecretStr | None:
    if isinstance(given, SecretStr):
        return given
    # An empty variable is an unset one, and a key copied with its line break is still the key.
    found = given or next((value for name in preset.key_env if (value := os.environ.get(name))), None)
    return SecretStr(found.strip()) if found else None


def _is_local(address: str) -> bool:
    return urlsplit(address).hostname in ("127.0.0.1", "::1", "localhost")
