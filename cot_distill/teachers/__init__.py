"""Teachers: from ``"provider:model"`` to an object that answers.

:func:`open_teacher` is the one entrance. It reads the usual environment variable for the key and connects to nothing
before the first question.
"""

from __future__ import annotations

import inspect
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from pydantic import SecretStr

from cot_distill.errors import ConfigError
from cot_distill.guards import Guard
from cot_distill.protocols import Teacher
from cot_distill.teachers import chat
from cot_distill.teachers.cached import cached
from cot_distill.teachers.demo import DemoTeacher
from cot_distill.teachers.endpoint import Endpoint
from cot_distill.teachers.fallback import fallback
from cot_distill.teachers.in_process import IN_PROCESS, open_in_process
from cot_distill.teachers.mix import mix
from cot_distill.teachers.presets import PRESETS, Preset
from cot_distill.teachers.throttled import throttled

__all__ = ["PRESETS", "DemoTeacher", "Preset", "cached", "fallback", "mix", "open_teacher", "throttled"]

_WAYS = """Ways to get a teacher:
  Distiller("deepseek:deepseek-flash")                    a provider; its key in DEEPSEEK_API_KEY or api_key=…
  Distiller("anthropic:MODEL")                            one with a format of its own (also gemini, bedrock, azure)
  Distiller("vllm:Qwen/QwQ-32B")                          a server of your own (also sglang, llamacpp, ollama, tgi)
  Distiller(open_teacher("openai:MODEL", base_url=URL))   anything else that speaks chat completions
  Distiller("transformers:Qwen/Qwen3-0.6B")               a model in this process (extra [local]); also vllm-engine
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
    stream: bool = False,
    stop_when: Guard | Sequence[Guard] = (),
) -> Teacher:
    """Make a teacher from a spec.

    Args:
        spec: ``"provider:model"``, split at the first colon, or ``"demo"``. The providers are the keys of
            :data:`PRESETS`; ``transformers`` and ``vllm-engine`` run a model in this process.
        base_url: Another address than the provider's own, up to where the path of the format follows
            (``/chat/completions``; ``/v1/messages`` for ``anthropic:``…).
        api_key: Default: the provider's usual environment variable.
        preset: The ways of a provider that is not in the table; its name goes before the colon of the spec.
        name: Identity in the recipe of a run. Default: the spec, with the host where ``base_url`` is not a usual one.
        headers: Sent with every request.
        timeout: Seconds that one answer may take in all, thinking included.
        stream: Have answers sent as a stream: for models that think only then, and where something on the way closes
            connections on which nothing is said for long. The completions are the same.
        stop_when: Guards that look at each answer while it streams, and may stop it: functions of the reasoning and
            the answer so far that return why, or None. :func:`cot_distill.guards.fails` makes one of a verifier. A
            stopped answer is a failure of kind ``stopped``.

    Raises:
        ConfigError: No spec, an unknown provider, no model, no key, no base URL that is one, or a stream of what is
            not streamed.

    Example:
        >>> open_teacher("vllm:Qwen/QwQ-32B", base_url="http://gpu-7:8000/v1").name
        'vllm:Qwen/QwQ-32B'
    """
    if spec is None:
        raise ConfigError(f"no teacher given. {_WAYS}")
    if spec == "demo":
        if base_url or api_key or preset or name or headers or stream or stop_when:
            raise ConfigError('"demo" takes no options here: DemoTeacher(wrong=…, cut=…, latency=…) has some')
        return DemoTeacher()
    guards = [stop_when] if callable(stop_when) else list(stop_when)
    _check_options(base_url, api_key, name, headers, timeout, guards)
    if guards and not stream:
        raise ConfigError("stop_when=… looks at answers while they come: pass stream=True as well")
    provider, _, model = spec.partition(":")
    if preset is None and provider in IN_PROCESS:
        return open_in_process(spec, name=name, options=bool(base_url or api_key or headers or stream))
    known = PRESETS if preset is None else {preset.name: preset}
    if provider not in known:
        form = "" if model else "write provider:model; "
        raise ConfigError(
            f"{spec!r}: {form}there is no provider {provider!r}. Known: {', '.join(sorted(known))}, demo"
        )
    if not model:
        raise ConfigError(f"{spec!r} names no model: write {provider}:MODEL, with the model as the endpoint names it")
    preset = known[provider]
    usual = _filled(preset.base_url)
    address = base_url or usual
    if address is None:
        missing = " and ".join(_VARIABLE.findall(preset.base_url))
        raise ConfigError(f"no address for {provider}: set {missing}, or pass base_url=…")
    elsewhere = usual is None or address.rstrip("/") != usual.rstrip("/")
    if elsewhere:
        preset = _at(address, preset)
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
        stream=stream,
        guards=guards,
    )


def _check_options(
    base_url: object, api_key: object, name: object, headers: object, timeout: object, guards: Sequence[object]
) -> None:
    """Name what was given in the wrong form, before anything is asked."""
    for option, value in (("base_url", base_url), ("name", name)):
        if value is not None and not (isinstance(value, str) and value.strip()):
            raise ConfigError(f"{option}={value!r}: must be text that is not empty; leave it out for the usual one")
    if not isinstance(api_key, str | SecretStr | None):
        raise ConfigError(f"api_key is a {type(api_key).__name__}: must be text")
    if headers is not None and not (
        isinstance(headers, Mapping) and all(isinstance(part, str) for pair in headers.items() for part in pair)
    ):
        raise ConfigError("headers=…: must map names to values, and both must be text")
    is_number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if not is_number or not 0 < timeout < math.inf:  # type: ignore[operator]
        raise ConfigError(f"timeout={timeout!r}: must be a number of seconds above 0")
    for guard in guards:
        if not callable(guard) or inspect.iscoroutinefunction(guard):
            raise ConfigError(
                f"stop_when: {guard!r} must be a plain function of reasoning and answer, not an async one"
            )


_VARIABLE = re.compile(r"\{(\w+)\}")


def _filled(base_url: str) -> str | None:
    """The address with the environment's values in place of the names in braces; None where one is not set."""
    values = {name: os.environ.get(name, "").strip().rstrip("/") for name in _VARIABLE.findall(base_url)}
    return _VARIABLE.sub(lambda found: values[found[1]], base_url) if all(values.values()) else None


def _at(address: str, preset: Preset) -> Preset:
    """The ways of a provider at an address that is not its usual one."""
    if preset.name == "openai":
        # Only the format is OpenAI's: what its own models insist on, others may not understand.
        plain = Preset(name=preset.name, base_url=preset.base_url)
        return replace(preset, max_tokens_field=plain.max_tokens_field, hides_reasoning=plain.hides_reasoning)
    if preset.name == "ollama" and urlsplit(address).path.rstrip("/").endswith("/v1"):
        # Its imitation of chat completions, under the address that OpenAI's clients are given.
        plain = Preset(name=preset.name, base_url=preset.base_url)
        return replace(preset, format=chat.FORMAT, thinking=plain.thinking)
    return preset


def _key(preset: Preset, given: str | SecretStr | None) -> SecretStr | None:
    if isinstance(given, SecretStr):
        given = given.get_secret_value()
    # An empty variable is an unset one, and a key copied with its line break is still the key.
    found = given or next((value for name in preset.key_env if (value := os.environ.get(name))), None)
    return SecretStr(found.strip()) if found else None


def _is_local(address: str) -> bool:
    return urlsplit(address).hostname in ("127.0.0.1", "::1", "localhost")
