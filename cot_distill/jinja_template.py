"""A chat template given as its Jinja text, rendered as transformers renders those of its tokenizers.

This file knows Jinja, in the sandbox that foreign templates belong into. It knows no tokens and no traces.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cot_distill.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    import jinja2

__all__ = ["JinjaTemplate"]

_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
_MARKS = ("\ufdd0generation\ufdd1", "\ufdd0endgeneration\ufdd1")  # noncharacters: no text holds them by chance


class JinjaTemplate:
    """Has ``apply_chat_template`` like a tokenizer, but no tokens.

    Nothing is passed on under another name: what newer releases of transformers do to ``reasoning_content`` and
    ``thinking`` before they render is left out here, since other servers and trainers do not do it.

    Args:
        template: The text of the template, not its path.
        tokens: The special tokens that it may name, such as ``bos_token``.

    Raises:
        ConfigError: The text is no template, or has a mistake; the message names the line.
        MissingExtraError: Jinja is not installed.

    Example:
        >>> template = JinjaTemplate("{% for turn in messages %}[{{ turn.role }}] {{ turn.content }}{% endfor %}")
        >>> template.apply_chat_template([{"role": "user", "content": "2 + 2?"}])
        '[user] 2 + 2?'
    """

    def __init__(self, template: str, **tokens: str) -> None:
        if "{{" not in template and "{%" not in template:
            raise ConfigError(
                f"{template[:60]!r} is no Jinja template: pass the text of one, such as "
                "Path('chat_template.jinja').read_text(), or the student's tokenizer"
            )
        self.chat_template = template
        self._tokens = {"bos_token": "<s>", "eos_token": "</s>", **tokens}
        _compiled(template, marked=False)  # so that a mistake shows at once

    @property
    def bos_token(self) -> str:
        """The token that a template may write at the very beginning."""
        return self._tokens["bos_token"]

    def apply_chat_template(
        self, conversation: Any, /, *, tokenize: bool = False, add_generation_prompt: bool = False
    ) -> str:
        """Write a conversation.

        Args:
            conversation: The messages.
            tokenize: Must be False.
            add_generation_prompt: End with what opens the student's turn.

        Returns:
            The text.

        Raises:
            ConfigError: The template refuses the conversation, or fails on it; or tokens are asked for.
        """
        if tokenize:
            raise ConfigError("a Jinja template by itself makes no tokens: pass the student's tokenizer")
        return self._render(conversation, add_generation_prompt, marked=False)

    def generated(self, conversation: Any, /) -> str | None:
        """Tell what the template marks as the student's own words, with ``{% generation %}``.

        Args:
            conversation: The messages.

        Returns:
            The texts of all such blocks, one after the other; None if the template has no such blocks.

        Raises:
            ConfigError: As :meth:`apply_chat_template`.
        """
        if not _GENERATION.search(self.chat_template):
            return None
        opening, closing = _MARKS
        pieces = self._render(conversation, generation=False, marked=True).split(opening)[1:]
        return "".join(piece.partition(closing)[0] for piece in pieces)

    def _render(self, conversation: Any, generation: bool, *, marked: bool) -> str:
        import jinja2

        given = {
            "messages": [dict(turn) for turn in conversation],
            "tools": None,
            "documents": None,
            "add_generation_prompt": generation,
        }
        try:
            return _compiled(self.chat_template, marked=marked).render(self._tokens | given)
        except jinja2.TemplateError as error:
            raise ConfigError(f"refused by the template: {error}") from error
        except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
            raise ConfigError(f"{type(error).__name__} in the template: {error}") from error


@lru_cache(maxsize=16)
def _compiled(template: str, *, marked: bool) -> jinja2.Template:
    """A template, ready to run. If ``marked``, what it has in generation blocks comes out between marks."""
    try:
        import jinja2
        from jinja2.ext import Extension, loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError:
        raise MissingExtraError("Rendering a Jinja template", "template") from None

    opening, closing = _MARKS if marked else ("", "")

    class Generation(Extension):
        tags = {"generation"}  # noqa: RUF012 - this is how Jinja wants it

        def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return jinja2.nodes.CallBlock(self.call_method("_written"), [], [], body).set_lineno(line)

        def _written(self, caller: jinja2.runtime.Macro) -> str:
            return f"{opening}{caller()}{closing}"

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json  # Jinja's own escapes HTML
    environment.globals |= {"raise_exception": raise_exception, "strftime_now": _now}
    try:
        return environment.from_string(template)
    except jinja2.TemplateSyntaxError as error:
        raise ConfigError(f"the chat template has a mistake in line {error.lineno}: {error.message}") from error


def _to_json(value: Any, **options: Any) -> str:
    return json.dumps(value, **{"ensure_ascii": False, **options})


def _now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)
