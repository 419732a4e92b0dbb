"""The README and the pages in docs/: every example runs as it stands, and what the tables and links say is true.

What a block needs is in its page, but for two things that are put in place here: a small ``tasks.jsonl`` in the
directory that the page runs in, and the network. Requests to any provider, and to the usual ports of servers of one's
own, go to a FaultServer on this machine that solves the tasks of the demo. Any other machine is refused.

Comments of HTML, which a reader does not see, say what the block after them is: ``<!-- prints -->`` (what the block
before it printed, with ``...`` for anything) or ``<!-- not run: reason -->``.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import importlib
import inspect
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import anyio
import pytest

import cot_distill
from cot_distill import errors, sources
from cot_distill.demo_problems import solve
from cot_distill.teachers import PRESETS, faults
from cot_distill.testing import FaultServer, echo_answer
from cot_distill.testing.server import FAULTS
from cot_distill.transport import Transport

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]

_BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>prints|not run: [^\n]+) -->\n)?^```(?P<kind>\w+)[^\n]*\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_THIS_MACHINE = ("127.0.0.1", "::1", "localhost")
_USUAL_PORTS = {urlsplit(preset.base_url).port for preset in PRESETS.values()}


class Block(NamedTuple):
    """A fenced block of a page."""

    kind: str
    text: str
    mark: str
    """What the comment before it says."""
    line: int
    """Of its first line of text, from 1."""


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(found["kind"], found["text"], found["mark"] or "", text.count("\n", 0, found.start("text")) + 1)
        for found in _BLOCK.finditer(text)
    ]


# --- the examples ---


@pytest.fixture(scope="module")
def provider() -> Iterator[FaultServer]:
    """Stands in for every provider."""
    with FaultServer(lambda prompt: solve(prompt) or echo_answer(prompt)) as server:
        yield server


@pytest.fixture
def place(provider: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory that a page runs in."""
    monkeypatch.chdir(tmp_path)
    tasks = [task for task in sources.demo_tasks(20) if task.answer is not None]
    assert len(tasks) == 16
    with Path("tasks.jsonl").open("w", encoding="utf-8") as file:
        for task in tasks:
            file.write(json.dumps({"id": task.id, "instruction": task.instruction, "answer": task.answer}) + "\n")
    for preset in PRESETS.values():
        for name in preset.key_env:
            monkeypatch.setenv(name, "sk-not-a-real-key")

    def reach(base_url: str, **options: Any) -> Transport:
        where = urlsplit(base_url)
        elsewhere = where.hostname not in _THIS_MACHINE or where.port in _USUAL_PORTS
        return Transport(provider.base_url if elsewhere else base_url, **options)

    look_up = socket.getaddrinfo

    def refuse(host: Any, *rest: Any, **options: Any) -> Any:
        if host not in (*_THIS_MACHINE, None):
            raise AssertionError(f"an example looked for {host}")
        return look_up(host, *rest, **options)

    monkeypatch.setattr("cot_distill.teachers.endpoint.Transport", reach)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path


def run_python(block: Block, page: Path, namespace: dict[str, Any]) -> str:
    """Run a block; return what it printed. Its lines keep their numbers, so that a traceback points into the page."""
    source = "\n" * (block.line - 1) + block.text
    code = compile(source, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        waiting = eval(code, namespace)
        if inspect.iscoroutine(waiting):
            anyio.run(lambda: waiting)
    return printed.getvalue()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_python_blocks_of_a_page_run_in_order(page: Path, place: Path) -> None:
    module = types.ModuleType("__main__")
    printed = None
    for block in blocks(page):
        if block.kind == "python":
            printed = None if block.mark else run_python(block, page, vars(module))
        elif block.mark == "prints":
            assert printed is not None, f"{page.name}:{block.line}: no block before it has run"
            assert doctest.OutputChecker().check_output(block.text, printed, doctest.ELLIPSIS), (
                f"{page.name}:{block.line}: printed\n{printed}"
            )
            printed = None


def test_examples_are_many_and_few_of_them_do_not_run() -> None:
    found = [block for page in PAGES for block in blocks(page)]
    python = [block for block in found if block.kind == "python"]
    assert len(python) > 40
    elsewhere = re.compile(r"not run: with torch, by (tests/\S+)")
    assert all((DOCS.parent / path[1]).exists() for block in python if (path := elsewhere.match(block.mark)))
    assert len([block for block in python if block.mark and not elsewhere.match(block.mark)]) <= 3
    assert len([block for block in found if block.mark == "prints"]) > 20
    assert not [block for block in found if block.mark.startswith("not run") and block.kind != "python"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_fence_and_every_mark_is_read(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = blocks(page)
    assert len(re.findall(r"^ *```", text, re.MULTILINE)) == 2 * len(found)
    marks = re.findall(r"^<!-- (?:prints|not run)", text, re.MULTILINE)
    assert len(marks) == len([block for block in found if block.mark])


_TOOLS = {"head", "cut", "jq", "sort", "uniq"}


@pytest.mark.skipif(os.name != "posix", reason="the console blocks are for a POSIX shell")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_console_blocks_of_a_page_run(page: Path, place: Path) -> None:
    # `python` is this one, whatever the shell would find.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONWARNINGS": "error"}
    for command in "".join(block.text for block in blocks(page) if block.kind == "console").splitlines():
        programs = {part.split()[0] for part in re.split(r" \| (?=[a-z]+ )", command)}
        if programs <= _TOOLS and all(map(shutil.which, programs)):
            cot_distill.Distiller("demo").run(sources.demo_tasks(20), "runs/demo", progress=False)
        elif not re.match(r"python -m cot_distill(?: |$)", command):
            continue
        shell = ["bash", "-euo", "pipefail", "-c", command]
        done = subprocess.run(shell, capture_output=True, text=True, env=environment, timeout=60)
        assert done.returncode == 0, f"{page.name}: {command}\n{done.stderr}"
        assert done.stdout.strip()


# --- the claims ---


def rows(page: str, heading: str) -> Iterator[list[str]]:
    """The rows of the first table after a heading, or after any line, as cells."""
    after = (DOCS / page).read_text(encoding="utf-8").partition(heading)[2]
    table = re.search(r"^\|.*\n\|[-|]+\|\n((?:\|.*\n?)+)", after, re.MULTILINE)
    assert table, f"{page} has no table after {heading!r}"
    for line in table[1].splitlines():
        yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def test_the_table_of_teachers_holds_the_presets() -> None:
    listed = {}
    for heading in ("## Providers", "## Servers of your own"):
        for spec, key, address, *_ in rows("teachers.md", heading):
            name = spec.strip("`:")
            listed[name] = (set(re.findall(r"`(\w+)`", key)), address.strip("`"))
            assert PRESETS[name].local is (heading == "## Servers of your own")
    assert listed == {name: (set(preset.key_env), preset.base_url) for name, preset in PRESETS.items()}


def test_the_table_of_efforts_holds_what_is_sent() -> None:
    table = {spec.strip("`:"): cells for spec, *cells in rows("teachers.md", "## How hard it thinks")}
    for name, preset in PRESETS.items():
        effort, budget = table.get(name, table["all others"])
        for cell, fields in ((effort, preset.thinking("high", None)), (budget, preset.thinking(None, 8000))):
            assert set(re.findall(r"[`,] ?`?(\w+)(?=[`:])", f",{cell}")) >= set(fields), name
            assert (cell == "left out") is (not fields), name


def test_what_is_always_sent_is_in_the_notes() -> None:
    text = (DOCS / "teachers.md").read_text(encoding="utf-8")
    for preset in PRESETS.values():
        for name in preset.always:
            if name != "separate_reasoning":  # the default of that server, said once more
                assert f"`{name}: " in text, name
        for name in preset.fixed:
            assert f"`{name}`" in text


def test_the_table_of_faults_holds_the_faults() -> None:
    listed = {name.strip("`"): seen for name, seen in rows("testing.md", "server.log")}
    assert listed == {name: seen.replace("<think>", "`<think>`") for name, seen in FAULTS.items()}


def test_the_table_of_failures_holds_the_kinds() -> None:
    listed = {kind.strip("`"): stage for kind, stage, *_ in rows("errors.md", "## Kinds of failure")}
    requests = {rule.kind for rule in faults._RULES if not rule.error.fatal} | {"malformed", "unreachable"}
    parsing = set(typing.get_args(errors.TraceErrorKind))
    assert {kind for kind, stage in listed.items() if "request" in stage} == requests
    assert {kind for kind, stage in listed.items() if "parse" in stage} == parsing
    assert listed.keys() == requests | parsing | {"verifier_error"}


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("length", "truncated"),
        ("no_reasoning", "no_reasoning"),
        ("no_answer", "no_answer"),
        ("refused", "refused"),
        ("400", "too_long"),
        ("hang", "timeout"),
        ("reset", "http"),
        ("html", "malformed"),
    ],
)
def test_the_next_session_asks_what_the_table_says(fault: str, kind: str, tmp_path: Path) -> None:
    says = {listed.strip("`"): cell for listed, *_, cell in rows("errors.md", "## Kinds of failure")}[kind]

    def odd_one(request: Any) -> str | None:
        return fault if b"odd" in request.body else None

    with FaultServer(faults=odd_one) as server:
        teacher = cot_distill.open_teacher("vllm:any", base_url=server.base_url, timeout=0.5)
        distiller = cot_distill.Distiller(teacher, concurrency=1, retries=0)
        run = distiller.run(["even?", "odd?"], tmp_path / "run", progress=False)
        assert run.report().failures == {kind: 1}
        before = server.requests
        distiller.run(["even?", "odd?"], tmp_path / "run", progress=False)
        assert server.requests - before == (says == "asks again")
        run.reask(kind)
        distiller.run(["even?", "odd?"], tmp_path / "run", progress=False)
        assert server.requests - before == (says == "asks again") + 1


def test_the_table_of_endings_names_errors() -> None:
    listed = {error.strip("`") for error, *_ in rows("errors.md", "## What ends a run")}
    fatal = {name for name in errors.__all__ if getattr(getattr(errors, name), "fatal", False)}
    assert fatal <= listed <= set(errors.__all__)


def test_the_tree_of_errors_is_the_one_of_the_code() -> None:
    tree = next(block.text for block in blocks(DOCS / "errors.md") if block.text.startswith("DistillError\n"))
    assert tree in inspect.cleandoc(errors.__doc__ or "").replace("\n    ", "\n")


def test_the_files_of_a_run_are_those_of_the_table(tmp_path: Path) -> None:
    cot_distill.Distiller("demo").run(sources.demo_tasks(1), tmp_path / "run", progress=False)
    listed = " ".join(files for files, _ in rows("runs.md", "## The directory"))
    for file in (tmp_path / "run").iterdir():
        assert f"`{file.name}`" in listed


# --- the reference, the links, the site ---


def documented() -> dict[str, set[str] | None]:
    """The modules that api.md renders, with the members that it picks; None where it takes all public ones."""
    found: dict[str, set[str] | None] = {}
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    for name, members in re.findall(r"^::: ([\w.]+)\n(?: +options:\n +members: \[([^\]]+)\]\n)?", text, re.MULTILINE):
        found[name] = set(members.split(", ")) if members else None
    return found


def test_the_reference_renders_what_exists() -> None:
    for name, members in documented().items():
        module = importlib.import_module(name)
        for member in members or ():
            assert hasattr(module, member), f"{name}.{member}"


def test_the_reference_holds_every_public_name() -> None:
    shown = documented()

    def is_shown(name: str, module: str) -> bool:
        return module in shown and (shown[module] is None or name in (shown[module] or ()))

    parts = [getattr(cot_distill, name) for name in cot_distill.__all__]
    modules = [cot_distill, importlib.import_module("cot_distill.testing"), *filter(inspect.ismodule, parts)]
    for module in modules:
        for name in module.__all__:
            value = getattr(module, name)
            if not inspect.ismodule(value) and name != "__version__":
                home = getattr(value, "__module__", module.__name__)
                assert is_shown(name, module.__name__) or is_shown(name, home), f"{module.__name__}.{name}"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ +(.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md", *DOCS.glob("design/*.md")], ids=lambda p: p.name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)", text):
        if urlsplit(link).scheme:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {link}"
        if page.parent == DOCS:
            assert target.is_relative_to(DOCS), f"{page.name}: {link} is not part of the site"


def test_the_site_has_every_page_and_no_other() -> None:
    config = tomllib.loads((DOCS / "zensical.toml").read_text(encoding="utf-8"))["project"]

    def pages(entries: list[dict[str, Any]]) -> Iterator[str]:
        for entry in entries:
            for page in entry.values():
                yield from pages(page) if isinstance(page, list) else (page,)

    listed = list(pages(config["nav"]))
    assert sorted(listed) == sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
    options = config["plugins"]["mkdocstrings"]["handlers"]["python"]["options"]
    assert all((DOCS / extension).exists() for extension in options["extensions"])


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_a_page_starts_with_what_the_reader_can_do_after_it(page: Path) -> None:
    title, blank, first, *_ = page.read_text(encoding="utf-8").splitlines()
    assert title.startswith("# ")
    assert (blank, first[:16]) == ("", "After this page ")
