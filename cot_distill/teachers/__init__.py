"""Teachers: from ``"provider:model"`` to an object that answers.

:func:`open_teacher` is the one entrance. It reads the usual environment variable for the key and connects to nothing
before the first question.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
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
    preset: Preset | None = None,
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
        preset: The ways of a provider that is not in the table; its name goes before the colon of the spec.
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
        if base_url or api_key or preset or name or headers:
            raise ConfigError('"demo" takes no options here: DemoTeacher(wrong=…, cut=…, latency=…) has some')
        return DemoTeacher()
    provider, _, model = spec.partition(":")
    known = PRESETS if preset is None else {preset.name: preset}
    if provider not in known:
        form = "" if model else "write provider:model; "
        raise ConfigError(
            f"{spec!r}: {form}there is no provider {provider!r}. Known: {', '.join(sorted(known))}, demo"
        )
    if not model:
        raise ConfigError(f"{spec!r} names no model: write {provider}:MODEL, with the model as the endpoint names it")
    preset = known[provider]
    address = base_url or preset.base_url
    elsewhere = address.rstrip("/") != preset.base_url.rstrip("/")
    if elsewhere and provider == "openai":
        preset = _compatible(preset)
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


def _compatible(openai: Preset) -> Preset:
    """At another address only the format is OpenAI's: what its own models insist on, others may not understand."""
    plain = Preset(name=openai.name, base_url=openai.base_url)
    return replace(openai, max_tokens_field=plain.max_tokens_field, hides_reasoning=plain.hides_reasoning)


def _key(preset: Preset, given: str | SecretStr | None) -> SecretStr | None:
    if isinstance(given, SecretStr):
        given = given.get_secret_value()
    # An empty variable is an unset one, and a key copied with its line break is still the key.
    found = given or next((value for name in preset.key_env if (value := os.environ.get(name))), None)
    return SecretStr(found.strip()) if found else None


def _is_local(address: str) -> bool:
    return urlsplit(address).hostname in ("127.0.0.1", "::1", "localhost")
