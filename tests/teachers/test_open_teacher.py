"""From a spec to a teacher: what it is called, which key it uses, and what is wrong with a bad spec."""

from __future__ import annotations

import re
from collections.abc import Iterator

import anyio
import pytest
from pydantic import SecretStr

from cot_distill.errors import ConfigError
from cot_distill.protocols import Teacher
from cot_distill.teachers import PRESETS, DemoTeacher, Preset, open_teacher
from cot_distill.testing import FaultServer
from cot_distill.types import Message, Sampling

KEY = "sk-live-0123456789"


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for preset in PRESETS.values():
        for variable in preset.key_env:
            monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://ours.openai.azure.com/")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")


class Listener:
    """A server that tells the model and the authorization that a teacher sends to it."""

    def __init__(self, server: FaultServer) -> None:
        self._server = server
        self.url = server.base_url

    def hears(self, teacher: Teacher) -> tuple[str, str | None]:
        before = self._server.requests
        anyio.run(teacher.complete, [Message(role="user", content="2 + 2?")], Sampling())
        entry = self._server.log[before]
        return entry.body["model"], entry.headers.get("authorization")


@pytest.fixture
def listener() -> Iterator[Listener]:
    with FaultServer() as server:
        yield Listener(server)


# Specs and names


@pytest.mark.parametrize(
    ("spec", "model"),
    [
        ("vllm:Qwen/QwQ-32B", "Qwen/QwQ-32B"),
        ("ollama:deepseek-r1:14b", "deepseek-r1:14b"),
        ("llamacpp:model.gguf", "model.gguf"),
        ("sglang: odd model ", " odd model "),
    ],
)
def test_a_spec_is_split_at_the_first_colon(spec: str, model: str, listener: Listener) -> None:
    teacher = open_teacher(spec, base_url=listener.url)
    assert teacher.name == spec
    assert listener.hears(teacher) == (model, None)


@pytest.mark.parametrize(
    ("spec", "base_url", "name"),
    [
        ("deepseek:m", None, "deepseek:m"),
        ("deepseek:m", "https://api.deepseek.com", "deepseek:m"),
        ("deepseek:m", "https://api.deepseek.com/", "deepseek:m"),
        ("deepseek:m", "https://proxy.example.com:8443/v1", "deepseek:m@proxy.example.com:8443"),
        ("openai:m", "http://127.0.0.1:9000/v1", "openai:m@127.0.0.1:9000"),
        ("vllm:m", None, "vllm:m"),
        ("vllm:m", "http://gpu-7:8000/v1", "vllm:m"),  # which machine it runs on makes no other teacher
    ],
)
def test_the_name_is_the_identity_of_the_teacher(spec: str, base_url: str | None, name: str) -> None:
    assert open_teacher(spec, base_url=base_url, api_key=KEY).name == name
    assert open_teacher(spec, base_url=base_url, api_key=KEY, name="mine").name == "mine"
    assert open_teacher(spec, base_url=base_url, api_key="sk-another-98765").name == name


@pytest.mark.parametrize("provider", PRESETS)
def test_every_provider_can_be_opened(provider: str) -> None:
    teacher = open_teacher(f"{provider}:some/model:7b", api_key=KEY)
    assert isinstance(teacher, Teacher)
    assert teacher.name == f"{provider}:some/model:7b"


def test_demo_is_a_spec_of_its_own() -> None:
    assert isinstance(open_teacher("demo"), DemoTeacher)


def test_a_provider_of_ones_own() -> None:
    mine = Preset(name="mine", base_url="https://llm.example.com/v1", key_env=("MINE_API_KEY",))
    assert open_teacher("mine:model", preset=mine, api_key=KEY).name == "mine:model"
    with pytest.raises(ConfigError, match="set MINE_API_KEY"):
        open_teacher("mine:model", preset=mine)
    with pytest.raises(ConfigError, match=r"no provider 'vllm'\. Known: mine, demo"):
        open_teacher("vllm:model", preset=mine)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (None, "no teacher given"),
        ("", "no provider ''"),
        ("deepseek-flash", "write provider:model; there is no provider 'deepseek-flash'"),
        ("Deepseek:m", "no provider 'Deepseek'. Known: anthropic, azure, bedrock"),
        (":m", "no provider ''"),
        ("vllm", "names no model: write vllm:MODEL"),
        ("vllm:", "names no model: write vllm:MODEL"),
    ],
)
def test_a_bad_spec_is_explained(spec: str | None, words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        open_teacher(spec)


# Keys


@pytest.mark.parametrize("provider", [name for name, preset in PRESETS.items() if preset.needs_key])
def test_a_missing_key_is_an_error_that_names_the_variables(provider: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_teacher(f"{provider}:m")
    variables = " or ".join(PRESETS[provider].key_env)
    assert f"no key for {provider}: set {variables}, or pass api_key" in str(caught.value)
    assert 'Distiller("demo")' in str(caught.value)


@pytest.mark.parametrize("empty", ["", None])
def test_an_empty_variable_is_none(empty: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "")
    with pytest.raises(ConfigError, match="no key for openai: set OPENAI_API_KEY"):
        open_teacher("openai:m", api_key=empty)


@pytest.mark.parametrize(
    ("variables", "argument", "key"),
    [
        ({"MOONSHOT_API_KEY": "from-the-first"}, None, "from-the-first"),
        ({"KIMI_API_KEY": "from-the-second"}, None, "from-the-second"),
        ({"MOONSHOT_API_KEY": "", "KIMI_API_KEY": "from-the-second"}, None, "from-the-second"),
        ({"MOONSHOT_API_KEY": "from-the-first", "KIMI_API_KEY": "no"}, None, "from-the-first"),
        ({"MOONSHOT_API_KEY": " with-a-line-break\n"}, None, "with-a-line-break"),
        ({"MOONSHOT_API_KEY": "no"}, "from-the-argument\n", "from-the-argument"),
        ({"MOONSHOT_API_KEY": "no"}, SecretStr("from-the-argument"), "from-the-argument"),
    ],
)
def test_where_the_key_comes_from(
    variables: dict[str, str],
    argument: str | SecretStr | None,
    key: str,
    listener: Listener,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    teacher = open_teacher("moonshot:m", base_url=listener.url, api_key=argument)
    assert listener.hears(teacher) == ("m", f"Bearer {key}")


def test_a_server_on_this_machine_needs_no_key(listener: Listener) -> None:
    url = listener.url
    assert listener.hears(open_teacher("openai:m", base_url=url)) == ("m", None)
    assert listener.hears(open_teacher("openai:m", base_url=url.replace("127.0.0.1", "localhost"))) == ("m", None)
    with pytest.raises(ConfigError, match="no key for openai"):
        open_teacher("openai:m", base_url="http://192.0.2.1/v1")


@pytest.mark.parametrize("key", [KEY, SecretStr(KEY)])
def test_the_key_shows_nowhere(key: str | SecretStr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSEEK_API_KEY", KEY)
    for teacher in (open_teacher("openai:m", api_key=key), open_teacher("deepseek:m")):
        assert KEY not in f"{teacher!r} {teacher} {vars(teacher)!r} {teacher.name}"
        assert teacher.name in repr(teacher)


def test_nothing_is_connected_to_before_the_first_question() -> None:
    """A port at which nobody listens, and a name that does not exist, are no error yet."""
    for address in ("http://127.0.0.1:9/v1", "https://nowhere.invalid/v1"):
        assert open_teacher("vllm:m", base_url=address).name == "vllm:m"


@pytest.mark.parametrize("address", ["gpu-7:8000/v1", "ftp://gpu-7/v1", "https://", "http://user:pass@gpu-7/v1"])
def test_a_base_url_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="base_url") as caught:
        open_teacher("vllm:m", base_url=address)
    assert "pass@" not in str(caught.value)


# Addresses


@pytest.mark.parametrize(
    ("spec", "address"),
    [
        ("azure:dep", "https://ours.openai.azure.com/openai/v1"),
        ("bedrock:m", "https://bedrock-runtime.eu-west-1.amazonaws.com"),
    ],
)
def test_an_address_may_hold_what_the_environment_says(spec: str, address: str) -> None:
    teacher = open_teacher(spec, api_key=KEY)
    assert repr(teacher) == f"Endpoint({spec!r}, base_url={address!r})"
    assert open_teacher(spec, base_url=address, api_key=KEY).name == spec


@pytest.mark.parametrize(("spec", "variable"), [("azure:dep", "AZURE_OPENAI_ENDPOINT"), ("bedrock:m", "AWS_REGION")])
@pytest.mark.parametrize("value", [None, "", " "])
def test_without_it_the_variable_is_named(
    spec: str, variable: str, value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value is None:
        monkeypatch.delenv(variable)
    else:
        monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=f"no address for .*: set {variable}, or pass base_url"):
        open_teacher(spec, api_key=KEY)
    given = open_teacher(spec, base_url="https://a.example.com/x", api_key=KEY)
    assert given.name == f"{spec}@a.example.com"


def test_ollama_at_an_address_for_openai_s_clients_is_asked_in_their_words(listener: Listener) -> None:
    """What worked before still does: `/v1` is its imitation of chat completions."""
    assert listener.hears(open_teacher("ollama:m", base_url=listener.url + "/")) == ("m", None)
    assert open_teacher("ollama:m", base_url="http://gpu-7:11434").name == "ollama:m"
