"""The trainer as a whole, on students of two layers: what it learns, what it leaves alone, what it says."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from transformers import Trainer, TrainingArguments  # noqa: E402

from cot_distill import Run, Sample  # noqa: E402
from cot_distill.errors import ConfigError  # noqa: E402
from cot_distill.student import (  # noqa: E402
    Collator,
    DistillationConfig,
    DistillationTrainer,
    LayerMap,
    LocalTeacher,
    StoredTopK,
    encode_dataset,
    precompute_topk,
)

# Of transformers and peft, which warn about themselves and one another.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(120)]

ALL = {"feature_weight": 0.5, "attention_weight": 0.5, "temperature": 2.0, "think_weight": 0.5, "chunk_size": 7}


@pytest.fixture(scope="module")
def dataset(run: Run, student: str) -> Any:
    return encode_dataset(transformers.AutoTokenizer.from_pretrained(student), islice(right(run), 24))


def right(run: Run) -> Iterator[Sample]:
    return (sample for sample in run.samples() if sample.passed)


@pytest.fixture
def model(model: Any) -> Any:
    model.set_attn_implementation("eager")
    return model


def made_like(model: Any, **changes: Any) -> Any:
    """A model of the same kind with weights of its own."""
    config = copy.deepcopy(model.config)
    for name, value in changes.items():
        setattr(config, name, value)
    torch.manual_seed(1)
    made = type(model)(config)
    made.set_attn_implementation("eager")
    for name, parameter in made.named_parameters():  # so that it has something to say
        if "embed" in name or "lm_head" in name:
            parameter.data *= 10
    return made


@pytest.fixture
def teacher(model: Any) -> Any:
    return made_like(model, hidden_size=48, num_hidden_layers=4, layer_types=["full_attention"] * 4)


def trained(model: Any, dataset: Any, settings: dict[str, Any], teacher: Any = None, **changes: Any) -> Any:
    """A trainer that has trained a copy of a model."""
    config = DistillationConfig(**{**settings, **changes})
    trainer = DistillationTrainer(copy.deepcopy(model), config, teacher=teacher, train_dataset=dataset)
    trainer.train()
    return trainer


def steps(trainer: Any) -> list[dict[str, float]]:
    return [entry for entry in trainer.state.log_history if "loss" in entry]


def assert_same(one: Any, other: Any, rtol: float = 1e-5) -> None:
    """The same losses, and the same weights of student and projectors."""
    skipped = {"epoch", "step"}
    assert len(steps(one)) == len(steps(other)) > 0
    for mine, theirs in zip(steps(one), steps(other), strict=True):
        for name in mine.keys() - skipped:
            assert mine[name] == pytest.approx(theirs[name], rel=rtol, abs=1e-7), name
    for mine, theirs in ((one.model, other.model), (one.projectors, other.projectors)):
        for (name, a), b in zip(mine.named_parameters(), mine_of(theirs), strict=True):
            torch.testing.assert_close(a, b, rtol=rtol, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")


def mine_of(module: Any) -> list[Any]:
    return list(module.parameters())


# --- the loss ---


def test_gamma_0_is_the_training_that_transformers_does(model: Any, dataset: Any, settings: Any) -> None:
    ours = trained(model, dataset, settings, gamma=0.0)
    options = {**settings, "remove_unused_columns": False}
    plain = Trainer(
        copy.deepcopy(model),
        TrainingArguments(**options),
        train_dataset=dataset.remove_columns(["id", "attempt", "spans"]),
        data_collator=Collator(),
    )
    plain.train()
    for mine, theirs in zip(steps(ours), steps(plain), strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-5)
        assert mine["ce"] == pytest.approx(theirs["loss"], rel=1e-5)
        assert mine["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-4)
    for a, b in zip(ours.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_gamma_0_is_the_loss_of_the_model_itself(model: Any, dataset: Any, settings: Any) -> None:
    batch = Collator()([dataset[place] for place in range(5)])
    for fused in (True, False):
        trainer = DistillationTrainer(model, DistillationConfig(**settings, gamma=0.0, fused=fused))
        names = ("input_ids", "attention_mask", "labels")
        wanted = model(**{name: batch[name] for name in names}).loss
        assert trainer.compute_loss(model, batch).item() == pytest.approx(wanted.item(), rel=1e-5)


@pytest.mark.parametrize("kind", ["kl", "mse"])
def test_fused_and_plain_learn_the_same(kind: str, model: Any, teacher: Any, dataset: Any, settings: Any) -> None:
    options = {**ALL, "attention_kind": kind, "optim": "sgd", "learning_rate": 0.1}
    fused, plain = (
        trained(model, dataset, settings, LocalTeacher(teacher), fused=fused, **options) for fused in (True, False)
    )
    assert steps(fused)[0]["kl"] > 1e-3
    assert_same(fused, plain)


@pytest.mark.parametrize("divergence", ["reverse_kl", "jsd"])
def test_other_divergences_are_those_of_the_losses(
    divergence: Any, model: Any, teacher: Any, dataset: Any, settings: Any
) -> None:
    found = [
        trained(model, dataset, settings, LocalTeacher(teacher), fused=fused, divergence=divergence, optim="sgd")
        for fused in (True, False)
    ]
    assert_same(*found)
    assert steps(found[0])[0]["kl"] != pytest.approx(
        steps(trained(model, dataset, settings, LocalTeacher(teacher)))[0]["kl"], rel=1e-3
    )


@pytest.mark.parametrize("fused", [True, False])
def test_top_k_of_everything_is_the_teacher_itself(
    fused: bool, model: Any, teacher: Any, dataset: Any, settings: Any
) -> None:
    stored = precompute_topk(teacher, dataset, model.config.vocab_size, batch_size=5, chunk_size=11)
    options = {"temperature": 2.0, "optim": "sgd", "learning_rate": 0.1, "fused": fused}
    one = trained(model, stored, settings, StoredTopK(), **options)
    other = trained(model, dataset, settings, LocalTeacher(teacher), **options)
    assert_same(one, other, rtol=1e-4)


def test_a_few_of_the_top_k_are_another_loss_for_each_way_of_the_rest(
    model: Any, teacher: Any, dataset: Any, settings: Any
) -> None:
    stored = precompute_topk(teacher, dataset, 4)
    found = [
        steps(trained(model, stored, settings, StoredTopK(residual=residual)))[0]["kl"]
        for residual in ("renormalize", "bucket", "uniform_tail")
    ]
    whole = steps(trained(model, dataset, settings, LocalTeacher(teacher)))[0]["kl"]
    assert len({round(kl, 5) for kl in (*found, whole)}) == 4
    assert found[1] < whole  # what is thrown together can only lose


def test_columns_of_other_names(model: Any, teacher: Any, dataset: Any, settings: Any) -> None:
    stored = precompute_topk(teacher, dataset, 4)
    renamed = stored.rename_columns({"topk_ids": "tokens", "topk_logprobs": "scores"})
    one = trained(model, stored, settings, StoredTopK())
    assert_same(one, trained(model, renamed, settings, StoredTopK(("tokens", "scores"))))
    with pytest.raises(ConfigError, match=r"no columns topk_ids and topk_logprobs"):
        trained(model, renamed, settings, StoredTopK())


class _Largest(TorchDispatchMode):
    """The size of the largest tensor that any operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for value in made if isinstance(made, tuple | list) else (made,):
            if isinstance(value, torch.Tensor):
                self.size = max(self.size, value.numel())
        return made


@pytest.mark.parametrize("source", ["local", "stored"])
def test_no_logits_of_all_positions_are_made(
    source: str, model: Any, teacher: Any, dataset: Any, settings: Any
) -> None:
    vocabulary, chunk = 8_000, 64  # so that logits are larger than anything else, weights and attention included
    for each in (model, teacher):
        each.resize_token_embeddings(vocabulary, mean_resizing=False)
    largest = {}
    given: Any = LocalTeacher(teacher)
    if source == "stored":
        with _Largest() as mode:
            dataset = precompute_topk(teacher, dataset.select(range(4)), 4, chunk_size=chunk)
        assert mode.size <= chunk * vocabulary
        given = StoredTopK()
    for fused in (True, False):
        config = DistillationConfig(**settings, chunk_size=chunk, fused=fused, optim="sgd")
        trainer = DistillationTrainer(copy.deepcopy(model), config, teacher=given, train_dataset=dataset)
        batch = Collator()([dataset[place] for place in range(4)])
        trainer.create_optimizer()
        with _Largest() as mode:
            trainer.training_step(trainer.model, batch, 800)
        largest[fused] = mode.size
    positions = batch["labels"].numel()
    assert largest[True] <= chunk * vocabulary
    assert largest[False] >= positions * vocabulary


# --- accumulation ---


@pytest.mark.parametrize("kind", ["kl", "mse"])
def test_gradient_accumulation_changes_nothing(
    kind: str, model: Any, teacher: Any, dataset: Any, settings: Any
) -> None:
    found = []
    for size, accumulated in ((8, 1), (4, 2), (2, 4)):
        options = {**ALL, "attention_kind": kind, "optim": "sgd", "learning_rate": 0.1, "max_steps": 3}
        options |= {"per_device_train_batch_size": size, "gradient_accumulation_steps": accumulated}
        found.append(trained(model, dataset, settings, LocalTeacher(teacher), **options))
    for other in found[1:]:
        assert_same(found[0], other)
    assert len(found[0].projectors) == 2
    assert not found[0].projectors[0].weight.equal(fresh(found[0]).projectors[0].weight)


def fresh(trainer: Any) -> Any:
    """A trainer of the same settings that has not trained."""
    return DistillationTrainer(trainer.model, trainer.args, teacher=trainer.teacher)


def test_a_last_step_of_fewer_batches_is_exact(model: Any, teacher: Any, dataset: Any, settings: Any) -> None:
    few = dataset.select(range(10))  # of 8 and 2
    found = [
        trained(
            model,
            few,
            settings,
            LocalTeacher(teacher),
            **{**ALL, "optim": "sgd", "learning_rate": 0.1, "max_steps": -1, "num_train_epochs": 1},
            per_device_train_batch_size=size,
            gradient_accumulation_steps=accumulated,
        )
        for size, accumulated in ((8, 1), (2, 4))
    ]
    assert len(steps(found[0])) == 2
    assert_same(*found)


# --- the teacher, and the features ---


def test_the_teacher_is_left_alone(model: Any, teacher: Any, dataset: Any, settings: Any) -> None:
    teacher.train()
    before = copy.deepcopy(teacher.state_dict())
    trainer = trained(model, dataset, settings, LocalTeacher(teacher), **ALL)
    assert all(value.equal(before[name]) for name, value in teacher.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in teacher.parameters())
    assert not teacher.training
    for logits in (True, False):
        taught = trainer.teacher(Collator()([dataset[0]]), logits=logits)
        knowledge = taught.knowledge if logits else taught.knowledge.hidden
        assert not any(made.requires_grad for made in (knowledge, *taught.hidden_states, *taught.attentions))
    assert not any(parameter is other for parameter in teacher.parameters() for other in groups(trainer))


def groups(trainer: Any) -> list[Any]:
    return [parameter for group in trainer.optimizer.param_groups for parameter in group["params"]]


def test_nothing_is_to_be_learned_of_oneself(model: Any, dataset: Any, settings: Any) -> None:
    source = LocalTeacher(copy.deepcopy(model))
    options = {"feature_weight": 1.0, "attention_weight": 1.0, "gamma": 1.0}
    trainer = trained(model, dataset, settings, source, max_steps=1, **options)
    (step,) = steps(trainer)
    assert max(abs(step[name]) for name in ("kl", "feature", "attention", "loss")) < 1e-6


@pytest.mark.parametrize("kind", ["mse", "cosine", "normalized_mse"])
def test_features_are_learned(kind: Any, model: Any, teacher: Any, dataset: Any, settings: Any) -> None:
    options = {"gamma": 0.0, "feature_weight": 10.0, "feature_kind": kind, "max_steps": 12, "learning_rate": 1e-2}
    found = [entry["feature"] for entry in steps(trained(model, dataset, settings, LocalTeacher(teacher), **options))]
    assert found[-1] < 0.9 * found[0]


def test_attention_is_learned(model: Any, teacher: Any, dataset: Any, settings: Any) -> None:
    teacher.model.layers[1].self_attn.q_norm.weight.data *= 4  # so that it looks at something
    options = {"gamma": 0.0, "attention_weight": 10.0, "max_steps": 12, "learning_rate": 1e-2}
    found = [e["attention"] for e in steps(trained(model, dataset, settings, LocalTeacher(teacher), **options))]
    assert found[-1] < 0.9 * found[0]


def test_projectors_have_a_group_and_a_rate_of_their_own(model: Any, teacher: Any, settings: Any) -> None:
    config = DistillationConfig(**settings, feature_weight=1.0, projector_learning_rate=0.5, weight_decay=0.25)
    trainer = DistillationTrainer(model, config, teacher=LocalTeacher(teacher))
    *students, projectors = trainer.create_optimizer().param_groups
    assert {group["lr"] for group in students} == {1e-3}
    assert (projectors["lr"], projectors["weight_decay"]) == (0.5, 0.25)
    assert [id(p) for p in projectors["params"]] == [id(p) for p in trainer.projectors.parameters()]
    assert len(trainer.create_optimizer().param_groups) == len(students) + 1
    assert not any("projector" in name for name in model.state_dict())


def test_layers_may_be_named(model: Any, teacher: Any, settings: Any) -> None:
    named: list[tuple[Any, Any]] = [
        ("even", ((1, 2), (2, 4))),
        ("last", ((-1, -1),)),
        ([[1, 3]], ((1, 3),)),
        ("1:3,-1:-1", ((1, 3), (-1, -1))),
        (LayerMap.last(2), ((-2, -2), (-1, -1))),
    ]
    for given, pairs in named:
        config = DistillationConfig(**settings, feature_weight=1.0, layer_map=given)
        trainer = DistillationTrainer(model, config, teacher=LocalTeacher(teacher))
        assert trainer._features is not None
        assert trainer._features.layers.pairs == pairs
        assert len(trainer.projectors) == len(pairs)


# --- spans ---


def by_hand(model: Any, batch: Any) -> Any:
    """The cross-entropy of each token, and what part it belongs to."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    labels, spans = batch["labels"][:, 1:], batch["spans"][:, 1:]
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
    return losses.detach(), labels != -100, spans


def test_spans_are_weighed_and_logged(model: Any, dataset: Any, settings: Any) -> None:
    options = {"gamma": 0.0, "think_weight": 0.25, "answer_weight": 3.0, "max_steps": 1}
    torch.manual_seed(0)
    trainer = DistillationTrainer(model, DistillationConfig(**{**settings, **options}))
    batch = Collator()([dataset[place] for place in range(6)])
    losses, counts, spans = by_hand(model, batch)
    weights = torch.tensor([1.0, 0.25, 3.0, 3.0])[spans] * counts
    wanted = (losses * weights).sum() / counts.sum()
    assert trainer.compute_loss(model.eval(), batch).item() == pytest.approx(wanted.item(), rel=1e-5)
    found = trainer._means(training=False)
    for name, numbers in (("think", [1]), ("answer", [2, 3])):
        here = counts & torch.isin(spans, torch.tensor(numbers))
        assert found[f"tokens/{name}"] == here.sum().item() > 0
        assert found[f"loss/{name}"] == pytest.approx(losses[here].mean().item(), rel=1e-5)
    assert found["tokens/think"] + found["tokens/answer"] == counts.sum().item()
    assert found["ce"] == pytest.approx(wanted.item(), rel=1e-5)


def test_a_part_without_weight_teaches_nothing(model: Any, dataset: Any, settings: Any) -> None:
    batch = Collator()([dataset[place] for place in range(4)])
    trainer = DistillationTrainer(model, DistillationConfig(**settings, gamma=0.0, think_weight=0.0))
    grads = []
    for noise in (0, 1):
        changed = {name: value.clone() for name, value in batch.items()}
        thinking = changed["spans"] == 1
        changed["labels"][thinking] = (changed["labels"][thinking] + noise) % 100
        model.zero_grad()
        trainer.compute_loss(model, changed).backward()
        grads.append(model.model.layers[0].mlp.up_proj.weight.grad.clone())
    assert grads[0].abs().max() > 0
    torch.testing.assert_close(*grads)


def test_weights_of_spans_need_spans(model: Any, dataset: Any, settings: Any) -> None:
    batch = Collator()([dataset[0]])
    del batch["spans"]
    trainer = DistillationTrainer(model, DistillationConfig(**settings, gamma=0.0, think_weight=2.0))
    with pytest.raises(ConfigError, match=r"need the column `spans`.*encode_dataset"):
        trainer.compute_loss(model, batch)


# --- logs and evaluation ---


def test_what_is_logged_adds_up(model: Any, teacher: Any, dataset: Any, settings: Any) -> None:
    options = {**ALL, "gamma": 0.3, "logging_steps": 2, "max_steps": 4, "gradient_accumulation_steps": 2}
    trainer = trained(model, dataset, settings, LocalTeacher(teacher), **options)
    assert len(steps(trainer)) == 2
    for step in steps(trainer):
        parts = 0.7 * step["ce"] + 0.3 * 4 * step["kl"] + 0.5 * step["feature"] + 0.5 * step["attention"]
        assert step["loss"] == pytest.approx(parts, rel=1e-5)
        assert {"loss/think", "loss/answer", "tokens/think", "tokens/answer"} <= step.keys()
    without = steps(trained(model, dataset.remove_columns("spans"), settings, gamma=0.0))[0]
    assert not {"kl", "feature", "attention", "loss/think", "tokens/think"} & without.keys()


def test_an_evaluation_is_a_mean_over_all_tokens(model: Any, teacher: Any, dataset: Any, settings: Any) -> None:
    found = []
    for size in (1, 3, 24):
        config = DistillationConfig(**settings, **ALL, per_device_eval_batch_size=size)
        trainer = DistillationTrainer(model, config, teacher=LocalTeacher(teacher), eval_dataset=dataset)
        trainer.compute_loss(model.eval(), Collator()([dataset[0]]))  # by hand: no part of what comes
        metrics = trainer.evaluate()
        found.append({name: value for name, value in metrics.items() if "per_second" not in name})
        parts = [metrics[f"eval_{name}"] for name in ("ce", "kl", "feature", "attention")]
        assert metrics["eval_loss"] == pytest.approx(0.5 * parts[0] + 2 * parts[1] + 0.5 * sum(parts[2:]), rel=1e-6)
    for name in found[0].keys() - {"eval_runtime", "eval_model_preparation_time"}:
        assert [other[name] for other in found[1:]] == pytest.approx([found[0][name]] * 2, rel=1e-4), name
    assert found[0]["eval_tokens/answer"] > 0


def test_evaluating_in_between_does_not_disturb(model: Any, teacher: Any, dataset: Any, settings: Any) -> None:
    quiet = trained(model, dataset, settings, LocalTeacher(teacher), **ALL)
    config = DistillationConfig(**settings, **ALL, eval_strategy="steps", eval_steps=1, logging_first_step=True)
    both = DistillationTrainer(
        copy.deepcopy(model), config, teacher=LocalTeacher(teacher), train_dataset=dataset, eval_dataset=dataset
    )
    both.train()
    assert_same(quiet, both)
    assert len([entry for entry in both.state.log_history if "eval_loss/think" in entry]) == 2


def test_metrics_get_whole_logits(model: Any, teacher: Any, dataset: Any, settings: Any) -> None:
    shapes = []

    def metrics(found: Any) -> dict[str, float]:
        shapes.append((found.predictions.shape, found.label_ids.shape))
        return {"right": float((found.predictions.argmax(-1) == found.label_ids).mean())}

    config = DistillationConfig(**settings, per_device_eval_batch_size=3)
    trainer = DistillationTrainer(
        model, config, teacher=LocalTeacher(teacher), eval_dataset=dataset, compute_metrics=metrics
    )
    found = trainer.evaluate()
    ((logits, labels),) = shapes
    assert logits == (*labels, model.config.vocab_size)
    assert "eval_right" in found
    plain = DistillationTrainer(model, config, teacher=LocalTeacher(teacher), eval_dataset=dataset).evaluate()
    assert found["eval_loss"] == pytest.approx(plain["eval_loss"], rel=1e-5)


# --- types ---


@pytest.mark.parametrize("how", ["model", "autocast"])
def test_bfloat16(how: str, model: Any, teacher: Any, dataset: Any, settings: Any) -> None:
    wide = steps(trained(model, dataset, settings, LocalTeacher(teacher), **ALL))
    if how == "model":
        model, teacher = (copy.deepcopy(each).to(torch.bfloat16) for each in (model, teacher))
    options = {**settings, **ALL, "bf16": how == "autocast"}
    found = [trained(model, dataset, options, LocalTeacher(teacher), fused=fused) for fused in (True, False)]
    for trainer in found:
        for step, exact in zip(steps(trainer), wide, strict=True):
            assert all(math.isfinite(value) for value in step.values())
            assert step["loss"] == pytest.approx(exact["loss"], rel=0.02)
        assert {parameter.dtype for parameter in trainer.projectors.parameters()} == {torch.float32}


# --- what is refused ---


@pytest.mark.parametrize("whose", ["student", "teacher"])
def test_attention_needs_eager_attention(whose: str, model: Any, teacher: Any, settings: Any) -> None:
    (model if whose == "student" else teacher).set_attn_implementation("sdpa")
    config = DistillationConfig(**settings, attention_weight=1.0)
    with pytest.raises(
        ConfigError, match=rf"the {whose} computes its attention with 'sdpa'.*set_attn_implementation"
    ):
        DistillationTrainer(model, config, teacher=LocalTeacher(teacher))


def test_another_vocabulary_is_refused_or_cut(model: Any, dataset: Any, settings: Any) -> None:
    padded = made_like(model, vocab_size=model.config.vocab_size + 8)
    with pytest.raises(ConfigError, match=r"the student has \d+ logits, the teacher \d+.*vocab_policy='truncate'"):
        DistillationTrainer(model, DistillationConfig(**settings), teacher=LocalTeacher(padded))
    found = [
        trained(model, dataset, settings, LocalTeacher(padded), vocab_policy="truncate", fused=fused, optim="sgd")
        for fused in (True, False)
    ]
    assert_same(*found)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gamma": 1.5}, r"gamma=1.5 is not from 0"),
        ({"temperature": 0.0}, r"temperature=0.0"),
        ({"feature_weight": -1.0}, r"feature_weight=-1.0 is not 0 or more"),
        ({"think_weight": math.nan}, r"think_weight=nan"),
        ({"divergence": "kl"}, r"divergence='kl' is none of"),
        ({"vocab_policy": "pad"}, r"vocab_policy='pad' is none of"),
        ({"attention_kind": "cosine"}, r"attention_kind='cosine' is none of"),
        ({"feature_kind": "kl"}, r"feature_kind='kl' is none of"),
        ({"layer_map": "all"}, r"layer_map='all' is neither"),
        ({"layer_map": "1,2"}, r"no pair of layer numbers"),
        ({"layer_map": [[1, 2, 3]]}, r"no pair of layer numbers"),
        ({"layer_map": "1:2,1:2"}, r"names a pair twice"),
        ({"chunk_size": 0}, r"chunk_size=0 is below 1"),
        ({"remove_unused_columns": True}, r"would remove the columns"),
        ({"label_smoothing_factor": 0.1}, r"label_smoothing_factor has no place"),
        ({"use_liger_kernel": True}, r"use_liger_kernel replaces the loss"),
    ],
)
def test_settings_out_of_range(changes: Any, message: str, settings: Any) -> None:
    with pytest.raises(ConfigError, match=message):
        DistillationConfig(**{**settings, **changes})


def test_settings_go_into_json_and_through_the_parser_of_arguments(settings: Any) -> None:
    config = DistillationConfig(**settings, layer_map=LayerMap.last(2))
    assert '"layer_map"' in config.to_json_string()
    parser = transformers.HfArgumentParser(DistillationConfig)
    (read,) = parser.parse_dict({**settings, "gamma": 0.25, "layer_map": [[1, 2]]})
    assert (read.gamma, read.layer_map) == (0.25, "1:2")
    (read,) = parser.parse_args_into_dataclasses(["--output_dir", "x", "--use_cpu", "--divergence", "jsd"])
    assert (read.divergence, read.fused, read.layer_map) == ("jsd", True, "even")


def test_what_does_not_go_together(model: Any, teacher: Any, dataset: Any, settings: Any) -> None:
    def refused(message: str, given: Any = None, **changes: Any) -> None:
        with pytest.raises(ConfigError, match=message):
            DistillationTrainer(model, DistillationConfig(**settings, **changes), teacher=given)

    refused(r"there is no teacher: pass LocalTeacher\(model\) or StoredTopK\(\)")
    refused(r"there is no teacher", gamma=0.0, feature_weight=1.0)
    refused(r"share their weights: give LocalTeacher\(copy.deepcopy\(model\)\)", LocalTeacher(model))
    refused(r"feature_weight is above 0, and stored top k hold no such thing", StoredTopK(), feature_weight=1.0)
    refused(r"divergence='jsd' needs a LocalTeacher", StoredTopK(), divergence="jsd")
    refused(r"residual='bucket' needs temperature=1", StoredTopK(residual="bucket"), temperature=2.0)
    refused(r"layer 9 of the", LocalTeacher(teacher), feature_weight=1.0, layer_map=[[9, 1]])
    with pytest.raises(ConfigError, match=r"args is a TrainingArguments; .*needs a DistillationConfig"):
        DistillationTrainer(model, TrainingArguments(**settings))
    with pytest.raises(ConfigError, match=r"takes no model_init"):
        DistillationTrainer(model, DistillationConfig(**settings, gamma=0.0), model_init=lambda: model)
    with pytest.raises(ConfigError, match=r"no columns topk_ids and topk_logprobs: precompute_topk"):
        trained(model, dataset, settings, StoredTopK())
    with pytest.raises(ConfigError, match=r"belongs to no trainer"):
        LocalTeacher(teacher)({}, logits=False)


def test_a_teacher_that_nothing_is_wanted_of_is_not_run(model: Any, dataset: Any, settings: Any) -> None:
    def never(*args: Any, **options: Any) -> Any:
        raise AssertionError("it was run")

    source = LocalTeacher(model)
    source.__class__ = type("Never", (LocalTeacher,), {"__call__": never, "prepare": never})
    trained(model, dataset, settings, source, gamma=0.0)
