"""The control tokens of chat formats, as they look in plain text.

A tokenizer reads them as the end of a turn wherever they stand: in a dataset they teach a student to stop in
mid-thought, and in a prompt they let the text that is judged speak as somebody else. This file knows what they look
like; what is to be done about them is for whoever finds one.
"""

from __future__ import annotations

import re

__all__ = ["CONTROL_TOKENS"]

CONTROL_TOKENS = re.compile(
    r"<\|[A-Za-z][\w:-]*\|?>"  # <|im_end|>, <|eot_id|>, <|endoftext|>, <|channel>
    r"|<｜[^<>｜]{1,64}｜>"  # DeepSeek: <｜Assistant｜>, <｜end▁of▁sentence｜>
    r"|<(?:start|end)_of_turn>|<bos>|<eos>"  # Gemma
    r"|\[/?INST\]|<</?SYS>>|</?s>"  # Mistral, Llama 2
)
