"""``python -m cot_distill``: the main job from end to end, with the demo teacher unless another one is named.

It prints the Python that it runs, runs exactly that, and shows what came out.
"""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cot_distill import sandbox
from cot_distill._version import __version__
from cot_distill.errors import ConfigError, DistillError
from cot_distill.run import Run

__all__ = ["main"]

_DEMO_BANNER = """\
The teacher here is a program that solves made-up tasks behind a real HTTP server on this machine. It errs on purpose
now and then. What it writes shows how the tool works; it is worthless as training data."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit status: 0, 1 after an error, 130 after Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    try:
        code = _code(options)
        if options.teacher == "demo":
            print(_DEMO_BANNER, end="\n\n")  # noqa: T201 - this is the command line
        if "unit_tests" not in code:
            print(f"No sandbox works here, so programs are not judged: {sandbox.probe()}", end="\n\n")  # noqa: T201
        print("Running:", textwrap.indent(code, "    "), sep="\n\n", flush=True)  # noqa: T201
        namespace: dict[str, Any] = {}
        exec(compile(code, "<printed above>", "exec"), namespace)  # noqa: S102 - just what was printed, written above
        _show(namespace["run"], Path(options.out))
    except DistillError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except BrokenPipeError:  # `| head` has seen enough; Python would complain once more on leaving
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print(f"\nstopped. What was answered is in {options.out}: run the same again to go on", file=sys.stderr)  # noqa: T201
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cot_distill",
        description="From tasks to a dataset of reasoning traces. Without options: 100 made-up tasks and the demo "
        "teacher, which needs no key and no network.",
    )
    parser.add_argument("--version", action="version", version=f"cot_distill {__version__}")
    parser.add_argument("--tasks", default="100", help="a file of tasks, or how many made-up ones (default: 100)")
    parser.add_argument("--out", default="demo", help="directory for the run and the datasets (default: demo)")
    parser.add_argument("--teacher", default="demo", help="a provider such as deepseek or vllm (default: demo)")
    parser.add_argument("--model", help="the model, as the provider names it")
    parser.add_argument("--base-url", help="address of the endpoint, if it is not the provider's usual one")
    return parser


def _code(options: argparse.Namespace) -> str:
    """The Python that does the job.

    Raises:
        ConfigError: The demo teacher with tasks or a model of the user's own.
    """
    if options.teacher == "demo" and (options.model or options.base_url or not options.tasks.isdecimal()):
        raise ConfigError(
            "the demo teacher solves only tasks that it makes itself: give their number with --tasks, or name a "
            "--teacher and --model for tasks of your own"
        )
    spec = f"{options.teacher}:{options.model}" if options.model else options.teacher
    teacher = repr(spec) if not options.base_url else f"open_teacher({spec!r}, base_url={options.base_url!r})"
    made_up = options.tasks.isdecimal()
    tasks = f"sources.demo_tasks({int(options.tasks)})" if made_up else repr(options.tasks)
    # As the user wrote it, with forward slashes: what is printed should run on any system.
    out = Path(options.out).as_posix()
    # Programs are run to judge them, and only where something can keep them in.
    judges = "verifiers.exact()" + (", verifiers.unit_tests()" if sandbox.isolation() != "none" else "")
    names = ["Distiller", *(["open_teacher"] if options.base_url else []), *(["sources"] if made_up else [])]
    return textwrap.dedent(
        f"""\
        from cot_distill import {", ".join([*names, "verifiers", "writers"])}

        distiller = Distiller({teacher}, verifiers=[{judges}])
        run = distiller.run({tasks}, {out + "/run"!r})
        run.to_jsonl({out + "/train.jsonl"!r})
        run.export(writers.parquet({out + "/train.parquet"!r}))
        """
    )


def _show(run: Run, out: Path) -> None:
    from cot_distill.trace import join

    sample = next((sample for sample in run.samples() if sample.passed is not False), None)
    if sample is not None:
        turn = f"Task: {sample.task.instruction}\n\n{join(sample.trace)}"
        print("One row, as the student will see it:", textwrap.indent(turn, "    "), sep="\n\n", end="\n\n")  # noqa: T201
    print(run.report(), end="\n\n")  # noqa: T201
    print(f"Wrote {out / 'train.jsonl'} and {out / 'train.parquet'}; every answer is kept in {out / 'run'}")  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
