"""From samples to rows, and from rows to batches."""

from __future__ import annotations

import logging
import pickle
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

import numpy as np  # noqa: E402

from cot_distill import Run, Sample, Task, Trace, Verdict  # noqa: E402
from cot_distill.encoding import encode  # noqa: E402
from cot_distill.errors import ConfigError  # noqa: E402
from cot_distill.student import Collator, encode_dataset, encode_rows, precompute_topk  # noqa: E402
from cot_distill.student.collating import predicting  # noqa: E402
from cot_distill.student.dataset import ANSWER, EOS, PROMPT, THINK  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


def sample(reasoning: str = "2 and 2 make 4.", *, passed: bool | None = True) -> Sample:
    verdicts = (Verdict(by="exact", passed=passed),)
    return Sample(
        task=Task(id=7, instruction="2 + 2?"), trace=Trace(reasoning=reasoning, answer="4"), verdicts=verdicts
    )


def test_a_row_holds_what_encode_gives_up_to_the_end(tokenizer: Any) -> None:
    (row,) = encode_rows(tokenizer, [sample()])
    encoded = encode(tokenizer, sample())
    end = encoded.spans.eos.stop
    assert end < len(encoded.ids)  # this template writes a line break behind
    assert row["input_ids"] == list(encoded.ids[:end])
    assert row["labels"] == list(encoded.labels[:end])
    assert (row["id"], row["attempt"]) == ("7", 0)
    texts = {
        kind: tokenizer.decode([i for i, k in zip(row["input_ids"], row["spans"], strict=True) if k == kind])
        for kind in (PROMPT, THINK, ANSWER, EOS)
    }
    assert texts[PROMPT] == "<|im_start|>user\n2 + 2?<|im_end|>\n<|im_start|>assistant\n"
    assert texts[THINK] == "<think>\n2 and 2 make 4.\n</think>\n\n"
    assert (texts[ANSWER], texts[EOS]) == ("4", "<|im_end|>")


def test_wrong_samples_are_left_out(run: Run, tokenizer: Any) -> None:
    rows = list(encode_rows(tokenizer, run.samples()))
    assert 0 < len(rows) == sum(one.passed is not False for one in run.samples()) < len(list(run.samples()))
    assert len(list(encode_rows(tokenizer, [sample(passed=None)]))) == 1


def test_long_rows_are_left_out_whole_and_counted(tokenizer: Any, caplog: pytest.LogCaptureFixture) -> None:
    samples = [sample(), sample("2 and 2 make 4. " * 50), sample()]
    longest = len(next(iter(encode_rows(tokenizer, [samples[0]])))["input_ids"])
    with caplog.at_level(logging.WARNING, "cot_distill"):
        assert len(list(encode_rows(tokenizer, samples, max_length=longest))) == 2
    assert caplog.messages == [f"1 of 3 samples have more than {longest} tokens (max_length) and were left out"]
    with pytest.raises(ConfigError, match=r"no sample is left to train on.*max_length"):
        encode_dataset(tokenizer, samples, max_length=longest - 1)


def test_a_template_that_loses_the_trace_is_refused(tokenizer: Any) -> None:
    tokenizer.chat_template = tokenizer.chat_template.replace("{{ message.content }}", "{{ message.content[-9:] }}")
    with pytest.raises(ConfigError, match=r"task 7: the chat template drops the question"):
        encode_dataset(tokenizer, [sample()])


def test_rows_of_a_dataset_are_those_of_the_generator(run: Run, tokenizer: Any) -> None:
    dataset = encode_dataset(tokenizer, run.samples())
    assert list(dataset) == list(encode_rows(tokenizer, run.samples()))


# --- batches ---

ROWS = [
    {"input_ids": [5, 6, 7], "labels": [-100, 6, 7], "spans": [0, 1, 2]},
    {"input_ids": [8, 9], "labels": [8, 9], "spans": [1, 3]},
]


def test_a_batch_is_padded_on_the_right() -> None:
    batch = Collator(pad_token_id=4)(ROWS)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 9, 4]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["labels"].tolist() == [[-100, 6, 7], [-100, 9, -100]]  # nothing predicts a first token
    assert batch["spans"].tolist() == [[0, 1, 2], [1, 3, 0]]
    assert {value.dtype for value in batch.values()} == {torch.int64}
    assert predicting(batch["labels"]).tolist() == [[True, True, False], [True, False, False]]
    assert ROWS[1]["labels"] == [8, 9]


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_columns_may_be_lists_arrays_or_tensors(kind: Any) -> None:
    rows = [{name: kind(values) for name, values in row.items()} for row in ROWS]
    for name, value in Collator()(rows).items():
        assert value.equal(Collator()(ROWS)[name])
    if kind is np.array:
        rows[0]["labels"].flags.writeable = False
        Collator()(rows)


def test_top_k_stand_where_the_logits_are() -> None:
    ids = [[[1, 2], [3, 4]], [[5]]]  # the second one has fewer
    logprobs = [[[-0.5, -1.0], [-0.25, -2.0]], [[-0.125]]]
    names = ("ids", "logprobs")
    rows = [{**row, "ids": i, "logprobs": p} for row, i, p in zip(ROWS, ids, logprobs, strict=True)]
    batch = Collator(topk=names)(rows)
    never = -float("inf")
    assert batch["topk_ids"].tolist() == [[[1, 2], [3, 4], [0, 0]], [[5, 0], [0, 0], [0, 0]]]
    assert batch["topk_logprobs"].tolist() == [
        [[-0.5, -1.0], [-0.25, -2.0], [never, never]],
        [[-0.125, never], [never, never], [never, never]],
    ]
    ragged = {**ROWS[0], "ids": [[1, 2], [3]], "logprobs": [[-0.5, -1.0], [-0.25]]}
    assert Collator(topk=names)([ragged])["topk_logprobs"][0, 1].tolist() == [-0.25, never]
    assert pickle.loads(pickle.dumps(Collator(topk=names))) == Collator(topk=names)


def test_rows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"no column 'labels', its columns are input_ids: encode_dataset"):
        Collator()([{"input_ids": [1, 2]}])
    with pytest.raises(ConfigError, match=r"row 0 of a batch has 2 input_ids and 1 spans"):
        Collator()([{"input_ids": [1, 2], "labels": [1, 2], "spans": [1]}])
    with pytest.raises(ConfigError, match=r"topk_ids of shape \(1, 1\).*for 2 tokens with a label"):
        Collator()([{**ROWS[0], "topk_ids": [[1]], "topk_logprobs": [[-0.5]]}])


# --- stored top k ---


def test_stored_top_k_are_those_of_the_model(run: Run, tokenizer: Any, model: Any) -> None:
    dataset = encode_dataset(tokenizer, run.samples()).select(range(5))
    model.train()
    stored = precompute_topk(model, dataset, 3, batch_size=2, chunk_size=50)
    assert model.training
    assert stored.features["topk_ids"].feature.feature.dtype == "int32"
    assert stored.features["topk_logprobs"].feature.feature.dtype == "float32"
    for row in stored:
        logits = model(input_ids=torch.tensor([row["input_ids"]])).logits[0, :-1]
        best = logits.log_softmax(-1)[torch.tensor(row["labels"][1:]) != -100].topk(3)
        assert (torch.tensor(row["topk_ids"]) == best.indices).float().mean() > 0.99  # ties aside
        torch.testing.assert_close(torch.tensor(row["topk_logprobs"]), best.values, rtol=1e-4, atol=1e-4)


def test_stored_top_k_are_never_those_of_an_earlier_model(run: Run, tokenizer: Any, model: Any) -> None:
    dataset = encode_dataset(tokenizer, run.samples()).select(range(2))
    first = precompute_topk(model, dataset, 2)["topk_logprobs"][0]
    model.lm_head.weight.data *= 3
    second = precompute_topk(model, dataset, 2)["topk_logprobs"][0]
    assert not np.allclose(first, second)


def test_top_k_survive_the_disk(run: Run, tokenizer: Any, model: Any, tmp_path: Any) -> None:
    import datasets

    stored = precompute_topk(model, encode_dataset(tokenizer, run.samples()).select(range(3)), 4)
    stored.save_to_disk(tmp_path / "stored")
    again = datasets.load_from_disk(tmp_path / "stored")
    rows = [Collator()([found[place] for place in range(3)]) for found in (stored, again)]
    assert all(value.equal(rows[1][name]) for name, value in rows[0].items())
    assert again.features["topk_ids"].feature.feature.dtype == "int32"


def test_k_out_of_range(run: Run, tokenizer: Any, model: Any) -> None:
    dataset = encode_dataset(tokenizer, run.samples()).select(range(2))
    for k in (0, model.config.vocab_size + 1):
        with pytest.raises(ConfigError, match=rf"k={k} is not from 1 to {model.config.vocab_size}"):
            precompute_topk(model, dataset, k)
    with pytest.raises(ConfigError, match=r"chunk_size=0"):
        precompute_topk(model, dataset, 2, chunk_size=0)
