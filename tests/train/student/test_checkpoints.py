"""What a training leaves on disk: a student that anything can load, and all that is needed to go on."""

from __future__ import annotations

import copy
import shutil
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

from safetensors.torch import load_file  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

from cot_distill import Run  # noqa: E402
from cot_distill.errors import ConfigError  # noqa: E402
from cot_distill.student import (  # noqa: E402
    DistillationConfig,
    DistillationTrainer,
    LocalTeacher,
    StoredTopK,
    encode_dataset,
    precompute_topk,
)

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(120)]

OPTIONS = {"feature_weight": 0.5, "temperature": 2.0, "max_steps": 5, "save_strategy": "steps", "save_steps": 3}


@pytest.fixture(scope="module")
def dataset(run: Run, student: str) -> Any:
    right = (sample for sample in run.samples() if sample.passed)
    return encode_dataset(AutoTokenizer.from_pretrained(student), islice(right, 24))


@pytest.fixture
def teacher(model: Any) -> Any:
    config = copy.deepcopy(model.config)
    config.hidden_size = 48
    torch.manual_seed(1)
    return type(model)(config)


def made(model: Any, dataset: Any, settings: dict[str, Any], teacher: Any, **changes: Any) -> Any:
    source = teacher if isinstance(teacher, StoredTopK) else LocalTeacher(teacher)
    config = DistillationConfig(**{**settings, **OPTIONS, **changes})
    return DistillationTrainer(
        copy.deepcopy(model), config, teacher=source, train_dataset=dataset, eval_dataset=dataset
    )


def with_lora(model: Any, **options: Any) -> Any:
    torch.manual_seed(2)
    targets = options.pop("target_modules", ["q_proj", "down_proj"])
    return peft.get_peft_model(copy.deepcopy(model), peft.LoraConfig(r=4, target_modules=targets, **options))


def losses(trainer: Any) -> dict[int, dict[str, float]]:
    return {entry["step"]: entry for entry in trainer.state.log_history if "loss" in entry}


def assert_went_on(whole: Any, resumed: Any) -> None:
    """The same losses from the checkpoint on, and the same weights at the end."""
    assert losses(resumed).keys() == losses(whole).keys() == {1, 2, 3, 4, 5}
    for step in (4, 5):
        for name, value in losses(whole)[step].items():
            assert losses(resumed)[step][name] == pytest.approx(value, rel=1e-5), name
    for mine, theirs in ((whole.model, resumed.model), (whole.projectors, resumed.projectors)):
        for a, b in zip(mine.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("accumulated", [1, 2])
def test_to_resume_is_as_if_nothing_had_happened(
    accumulated: int, model: Any, teacher: Any, dataset: Any, settings: Any
) -> None:
    options = {"gradient_accumulation_steps": accumulated}  # with 2, an epoch ends at the checkpoint
    whole = made(model, dataset, settings, teacher, **options)
    whole.train()
    resumed = made(model, dataset, settings, teacher, **options)
    before = [parameter.clone() for parameter in resumed.projectors.parameters()]
    with torch.no_grad():
        for parameter in (*resumed.model.parameters(), *resumed.projectors.parameters()):
            parameter.zero_()  # all of it comes from the file
    shutil.rmtree(Path(settings["output_dir"]) / "checkpoint-5")
    resumed.train(resume_from_checkpoint=True)
    assert_went_on(whole, resumed)
    assert not any(
        parameter.equal(first) for parameter, first in zip(resumed.projectors.parameters(), before, strict=True)
    )


def test_to_resume_from_stored_top_k(model: Any, teacher: Any, dataset: Any, settings: Any) -> None:
    stored = precompute_topk(teacher, dataset, 8)
    whole = made(model, stored, settings, StoredTopK(), feature_weight=0.0)
    whole.train()
    resumed = made(model, stored, settings, StoredTopK(), feature_weight=0.0)
    resumed.train(resume_from_checkpoint=str(Path(settings["output_dir"]) / "checkpoint-3"))
    assert_went_on(whole, resumed)


def test_the_saved_student_is_a_plain_model(model: Any, teacher: Any, dataset: Any, settings: Any) -> None:
    trainer = made(model, dataset, settings, teacher)
    trainer.train()
    trainer.save_model()
    folder = Path(settings["output_dir"])
    for place in (folder, folder / "checkpoint-3"):
        assert load_file(place / "model.safetensors").keys() <= model.state_dict().keys()
        loaded, found = AutoModelForCausalLM.from_pretrained(place, output_loading_info=True)
        assert not any(found[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
        assert loaded.state_dict().keys() == model.state_dict().keys()
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    for name, value in loaded.state_dict().items():
        assert value.equal(trainer.model.state_dict()[name])
    saved = load_file(folder / "projectors.safetensors")
    assert list(saved) == ["0.weight", "1.weight"]
    assert all(value.equal(saved[name]) for name, value in trainer.projectors.state_dict().items())


def test_a_checkpoint_of_another_training_is_refused(model: Any, teacher: Any, dataset: Any, settings: Any) -> None:
    made(model, dataset, settings, teacher, max_steps=3).train()
    place = Path(settings["output_dir"]) / "checkpoint-3"
    with pytest.raises(ConfigError, match=r"holds projectors for other layers or widths"):
        made(model, dataset, settings, teacher, layer_map="last").train(resume_from_checkpoint=place)
    (place / "projectors.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"has no projectors.safetensors"):
        made(model, dataset, settings, teacher).train(resume_from_checkpoint=str(place))


def test_the_best_model_has_its_projectors(model: Any, teacher: Any, dataset: Any, settings: Any) -> None:
    options = {"load_best_model_at_end": True, "eval_strategy": "steps", "eval_steps": 1, "save_steps": 1}
    options |= {"greater_is_better": True, "metric_for_best_model": "eval_loss"}  # so that the best is not the last
    trainer = made(model, dataset, settings, teacher, **options, max_steps=3)
    trainer.train()
    best = Path(trainer.state.best_model_checkpoint)
    assert best.name == "checkpoint-1"
    saved = load_file(best / "projectors.safetensors")
    assert all(value.equal(saved[name]) for name, value in trainer.projectors.state_dict().items())


# --- adapters ---


def test_an_adapter_learns_and_its_base_does_not(model: Any, teacher: Any, dataset: Any, settings: Any) -> None:
    student = with_lora(model)
    options = {**settings, **OPTIONS, "optim": "sgd", "learning_rate": 0.1}
    found = []
    for fused in (True, False):
        config = DistillationConfig(**options, fused=fused)
        trainer = DistillationTrainer(
            copy.deepcopy(student), config, teacher=LocalTeacher(teacher), train_dataset=dataset
        )
        trainer.train()
        found.append(trainer)
    for (name, a), b in zip(found[0].model.named_parameters(), found[1].model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
        first = student.get_parameter(name)
        assert a.equal(first) is not ("lora_" in name and a.requires_grad), name
    for one, other in zip(losses(found[0]).values(), losses(found[1]).values(), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)
    place = Path(settings["output_dir"]) / "checkpoint-5"
    assert {"adapter_model.safetensors", "projectors.safetensors"} <= {file.name for file in place.iterdir()}
    assert not (place / "model.safetensors").exists()
    assert all("lora_" in name for name in load_file(place / "adapter_model.safetensors"))
    loaded = peft.PeftModel.from_pretrained(copy.deepcopy(model), place)
    batch = {"input_ids": torch.tensor([dataset[0]["input_ids"]])}
    found[1].model.eval()
    torch.testing.assert_close(loaded.eval()(**batch).logits, found[1].model(**batch).logits)


def test_to_resume_an_adapter(model: Any, teacher: Any, dataset: Any, settings: Any) -> None:
    whole = made(with_lora(model), dataset, settings, teacher)
    whole.train()
    resumed = made(with_lora(model), dataset, settings, teacher)
    resumed.train(resume_from_checkpoint=str(Path(settings["output_dir"]) / "checkpoint-3"))
    assert_went_on(whole, resumed)


def test_an_adapter_at_the_head_needs_the_plain_loss(model: Any, teacher: Any, dataset: Any, settings: Any) -> None:
    student = with_lora(model, target_modules=["lm_head"])
    with pytest.raises(ConfigError, match=r"the student's head is a Linear.*fused=False"):
        made(student, dataset, settings, teacher)
    made(student, dataset, settings, teacher, fused=False).train()
