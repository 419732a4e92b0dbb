"""A teacher of half a million parameters, trained on the spot: it knows twenty sums by heart, and thinks first.

    python tests/servers/tiny_teacher.py FOLDER [FILE.gguf]

writes a model for transformers, and one for llama.cpp. Needs torch, transformers and, for the latter, gguf. It is a
toy to prove servers and wire formats with; as a source of data it is worth nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

SUMS = [(17, 25), *((a, b) for a in (3, 14, 8, 26) for b in (5, 11, 32, 9)), (40, 2), (1, 1), (19, 23)]

CHAT_TEMPLATE = (
    "{%- for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}"
    "{%- if message.role == 'assistant' and message.reasoning_content %}"
    "{{ '<think>\\n' + message.reasoning_content + '\\n</think>\\n\\n' }}{%- endif %}"
    "{{ message.content + '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{ '<think>\\n\\n</think>\\n\\n' }}{%- endif %}"
    "{%- endif %}"
)


def question(a: int, b: int) -> str:
    return f"What is {a} + {b}?"


def reasoning(a: int, b: int) -> str:
    mark = chr(0x2460 + SUMS.index((a, b)))  # ①, ②…: too rare to be one token, so each of its bytes is one
    return f"{mark} {a} and {b} → {a + b}. Voilà."


def answer(a: int, b: int) -> str:
    return f"The answer is {a + b}."


def train(folder: str | Path, *, steps: int = 200) -> float:
    """Train a teacher and save it with its tokenizer.

    Returns:
        The last loss, in nats a token.
    """
    import torch
    from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    tokenizer = _tokenizer()
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    model = Qwen3ForCausalLM(config)
    batch = _batch(tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(steps):
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model.generation_config = GenerationConfig(
        do_sample=False, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    Path(folder, "template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")  # for llama-server
    return float(loss.detach())


def _tokenizer() -> Any:
    """Byte-level BPE. The think tags are tokens, but no special ones, as Qwen3 has it."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    texts = [text(a, b) for a, b in SUMS for text in (question, reasoning, answer)]
    made = Tokenizer(models.BPE())
    # As Qwen2 has it: llama.cpp splits text by the same rules.
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_pattern(), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=290, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(texts, trainer)
    made.add_tokens([AddedToken(tag, normalized=False) for tag in ("<think>", "</think>")])
    pad, begin, end = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
    made.add_special_tokens([pad, begin, end])
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token=pad, eos_token=end, chat_template=CHAT_TEMPLATE)


def _pattern() -> Any:
    from tokenizers import Regex

    return Regex(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )


def _batch(tokenizer: Any) -> dict[str, Any]:
    """All sums at once, with the loss on what the teacher says."""
    import torch

    rows = []
    for a, b in SUMS:
        turns = [{"role": "user", "content": question(a, b)}]
        prompt = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        said = f"<think>\n{reasoning(a, b)}\n</think>\n\n{answer(a, b)}<|im_end|>"
        asked, told = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, said))
        rows.append((asked + told, [-100] * len(asked) + told))
    width = max(len(ids) for ids, _ in rows)
    pad = tokenizer.pad_token_id
    return {
        "input_ids": torch.tensor([ids + [pad] * (width - len(ids)) for ids, _ in rows]),
        "attention_mask": torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in rows]),
        "labels": torch.tensor([labels + [-100] * (width - len(labels)) for _, labels in rows]),
    }


def write_gguf(folder: str | Path, path: str | Path) -> None:
    """Write the model of a folder as a file for llama.cpp, in float32."""
    import json

    import gguf
    from transformers import AutoTokenizer, Qwen3ForCausalLM

    model, tokenizer = Qwen3ForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    config = model.config
    writer = gguf.GGUFWriter(str(path), "qwen3")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    made = json.loads(tokenizer.backend_tokenizer.to_str())
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    special = set(tokenizer.all_special_ids)
    special |= {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    kinds = gguf.TokenType
    types = [
        kinds.CONTROL
        if number in special
        else kinds.USER_DEFINED
        if token in ("<think>", "</think>")
        else kinds.NORMAL
        for number, token in enumerate(tokens)
    ]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in made["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN3, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight":  # tied
            continue
        known = names.get_name(name, try_suffixes=(".weight", ".bias"))
        writer.add_tensor(known, tensor.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    print(f"loss {train(sys.argv[1]):.4f}")
    if len(sys.argv) > 2:
        write_gguf(sys.argv[1], sys.argv[2])
