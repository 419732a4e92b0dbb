"""A trainer for students, on that of transformers.

This file knows the course of a training. What a model says is known to ``model_outputs``, where a teacher's knowledge
comes from to ``teacher_sources``, and the losses are in files of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer
from transformers.trainer_utils import get_last_checkpoint

from cot_distill.errors import ConfigError
from cot_distill.student.batch_loss import Features, StepSize, attention_units, batch_loss, total_of
from cot_distill.student.collating import Collator, model_inputs
from cot_distill.student.meter import Meter
from cot_distill.student.model_outputs import head_of, outputs_of, require_eager, text_config
from cot_distill.student.projector_file import load_projectors, save_projectors
from cot_distill.student.projectors import Projector
from cot_distill.student.teacher_sources import StoredTopK, Taught, TeacherSource
from cot_distill.student.trainer_config import DistillationConfig

__all__ = ["DistillationTrainer"]


class DistillationTrainer(Trainer):  # type: ignore[misc] # transformers is not there when types are checked
    """Trains a student on traces, and on what a teacher knows beyond them.

    It is the ``Trainer`` of transformers with another loss; all else is as there: schedules, checkpoints, resuming,
    evaluation, adapters of PEFT, several processes with DDP. The loss is written out at
    :class:`~cot_distill.student.trainer_config.DistillationConfig`. Logits are made a few rows at a time (``fused``):
    none of positions x vocabulary are ever held, of the student or of the teacher. Losses that a model adds for its
    own sake, such as those that balance experts, are not added.

    Beside ``loss`` it logs

    - ``ce``, ``kl``, ``feature``, ``attention``: the parts of the loss before their weights, where these are not 0
    - where the dataset has ``spans``: ``loss/think`` and ``loss/answer``, the mean over the tokens of the reasoning,
      and of the answer and its end, before think and answer weights and without features; and how many tokens these
      were, ``tokens/think`` and ``tokens/answer``

    An evaluation has the same with ``eval_`` before it, each a mean over all tokens of the set, ``eval_loss`` too.

    Projectors for hidden states are made with the trainer and live with it: in ``projectors``, with a parameter
    group of their own, and in the file ``projectors.safetensors`` of each checkpoint. They are no part of the
    student. Their gradients are not clipped.

    Args:
        model: The student: a model of transformers, or one that PEFT has wrapped.
        args: The settings.
        teacher: What to learn from; None where ``gamma`` and both weights are 0.
        train_dataset: As :func:`~cot_distill.student.dataset.encode_dataset` makes it.
        eval_dataset: The same.
        processing_class: The tokenizer, to be saved with the student.
        data_collator: Default: a :class:`~cot_distill.student.collating.Collator`.
        **options: As of ``Trainer``; its ``compute_loss_func`` and ``model_init`` have no place here.

    Raises:
        ConfigError: What is wanted cannot be had of these models: no teacher, other vocabularies, a head that is more
            than linear with ``fused``, attention that makes no maps, a way of spreading a model that hides weights.
    """

    args: DistillationConfig

    def __init__(
        self,
        model: nn.Module,
        args: DistillationConfig,
        teacher: TeacherSource | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: Any = None,
        data_collator: Any = None,
        **options: Any,
    ) -> None:
        if not isinstance(args, DistillationConfig):
            raise ConfigError(f"args is a {type(args).__name__}; a DistillationTrainer needs a DistillationConfig")
        for name in ("compute_loss_func", "model_init"):
            if options.get(name) is not None:
                raise ConfigError(f"a DistillationTrainer takes no {name}")
        if teacher is None and args.needs_teacher:
            raise ConfigError(
                "there is no teacher: pass LocalTeacher(model) or StoredTopK() as `teacher`, or set gamma=0, and "
                "leave the weights of features and attention at 0"
            )
        if data_collator is None:
            pad = getattr(processing_class, "pad_token_id", None)
            data_collator = Collator(pad or 0, *([teacher.columns] if isinstance(teacher, StoredTopK) else []))
        super().__init__(
            model,
            args,
            data_collator=data_collator,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            **options,
        )
        self.model_accepts_loss_kwargs = True  # so that tokens are counted over all of a step, whatever the model
        self.teacher = teacher if args.needs_teacher else None
        self.projectors = nn.ModuleList()
        self._features: Features | None = None
        self._meters = {True: Meter(), False: Meter()}  # of training and of evaluation
        self._whole_logits = False
        self._step: tuple[float | None, int] = (None, 1)
        self._check()
        if self.teacher is not None:
            self._prepare(self.teacher)

    def _check(self) -> None:
        if self.args.n_gpu > 1:
            raise ConfigError(
                f"there are {self.args.n_gpu} devices and one process: start one for each (torchrun, or accelerate "
                f"launch), or show this one a single device with CUDA_VISIBLE_DEVICES"
            )
        if (self.is_fsdp_enabled or self.is_deepspeed_enabled) and (self.args.fused or self.args.feature_weight > 0):
            raise ConfigError(
                "FSDP and DeepSpeed hide weights from the fused loss, and parameters from the projectors: set "
                "fused=False and feature_weight=0, or train with DDP"
            )
        if self.args.fused:
            head_of(self.model, "student")
        if self.args.attention_weight > 0:
            require_eager(self.model, "student")

    def _prepare(self, teacher: TeacherSource) -> None:
        teacher.prepare(self.model, self.args, self.args.device)
        if self.args.feature_weight == 0 and self.args.attention_weight == 0:
            return
        if teacher.shape is None:
            raise ConfigError(f"{type(teacher).__name__} has no hidden states and no attention: take a LocalTeacher")
        config = text_config(self.model)
        blocks, width = teacher.shape
        mine = config.num_hidden_layers
        layers = self.args.pairs_of_layers(mine, blocks)
        if self.args.attention_weight > 0:
            layers.attentions(range(mine), range(blocks))  # now, rather than at the first batch
        if self.args.feature_weight > 0:
            layers.hidden(range(mine + 1), range(blocks + 1))
            self.projectors.extend(Projector(config.hidden_size, width) for _ in layers.pairs)
            self.projectors.to(self.args.device)
        self._features = Features(layers, self.projectors)

    # --- the loss ---

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Compute the loss of a batch, as its share of the loss of a step.

        Args:
            model: The student, as the trainer has wrapped it.
            inputs: As :class:`~cot_distill.student.collating.Collator` makes them.
            return_outputs: Whether to return the logits as well, where there are any.
            num_items_in_batch: Tokens with a label in all batches of the step. Default: those of this one.

        Returns:
            The loss; or loss and outputs.
        """
        if "labels" not in inputs:
            raise ConfigError("a batch has no labels: take the default data_collator, and rows of encode_dataset")
        args = self.args
        whole = self._whole_logits or not args.fused
        said = outputs_of(
            model,
            self.accelerator.unwrap_model(model),
            model_inputs(inputs),
            whose="student",
            logits=whole,
            hidden_states=args.feature_weight > 0,
            attentions=args.attention_weight > 0,
        )
        taught = Taught() if self.teacher is None else self.teacher(inputs, logits=whole)
        step = StepSize(num_items_in_batch, *self._step) if model.training else StepSize()
        with self.accelerator.autocast() if args.fused else nullcontext():  # as a head is, when its model calls it
            found = batch_loss(said, taught, inputs, args, self._features, step)
        processes = self._processes(step.tokens)
        found.note(self._meters[step.batches > 0], inputs, step, processes)
        loss = found.loss * processes
        return (loss, {"loss": loss, "logits": said.logits}) if return_outputs else loss

    def _processes(self, tokens: Tensor | int | None) -> int:
        """By what to multiply, where the division was by the tokens of all processes and DDP takes a mean."""
        if self.args.average_tokens_across_devices and tokens is not None:
            return int(self.accelerator.num_processes)
        return 1

    # --- the course of a training ---

    def get_batch_samples(self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device) -> Any:
        """Take the batches of one step, and count what has to be known before the first of them."""
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        units = None
        if self.args.attention_weight > 0 and batches:
            counted = torch.tensor(attention_units(batches, self.args.attention_kind), device=device)
            units = float(self.accelerator.reduce(counted, "sum") if self._processes(items) > 1 else counted)
        self._step = (units, len(batches))
        self.projectors.zero_grad()  # the trainer does so for the student only
        return batches, items

    def training_step(self, model: nn.Module, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """Go forward and back on one batch."""
        loss = super().training_step(model, inputs, num_items_in_batch)
        if self.accelerator.sync_gradients and self.accelerator.num_processes > 1:  # DDP does so for the student only
            for parameter in self.projectors.parameters():
                parameter.grad = self.accelerator.reduce(parameter.grad, "mean")
        return loss

    def create_optimizer(self, model: Any = None) -> Any:
        """Make the optimizer, with a group for the projectors after those of the student."""
        optimizer = super().create_optimizer(model)
        mine = list(self.projectors.parameters())
        known = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        if mine and id(mine[0]) not in known:
            rate = self.args.projector_learning_rate
            lr = self.args.learning_rate if rate is None else rate
            optimizer.add_param_group({"params": mine, "lr": lr, "weight_decay": self.args.weight_decay})
        return optimizer

    def train(
        self, resume_from_checkpoint: str | PathLike[str] | bool | None = None, *args: Any, **options: Any
    ) -> Any:
        """Train, from the beginning or from a checkpoint.

        Args:
            resume_from_checkpoint: The folder of a checkpoint, or True for the last one in ``output_dir``.
            *args: As of ``Trainer``.
            **options: As of ``Trainer``.

        Raises:
            ConfigError: The checkpoint has no projectors, or others.
        """
        if resume_from_checkpoint is True:
            resume_from_checkpoint = get_last_checkpoint(self.args.output_dir) or True  # Trainer says what is wrong
        if resume_from_checkpoint and resume_from_checkpoint is not True:
            load_projectors(self.projectors, Path(resume_from_checkpoint))
        result = super().train(resume_from_checkpoint, *args, **options)
        if self.args.load_best_model_at_end and self.state.best_model_checkpoint is not None:
            load_projectors(self.projectors, Path(self.state.best_model_checkpoint))
        return result

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the student, and the projectors beside it in a file of their own."""
        super().save_model(output_dir, _internal_call)
        if self.args.should_save:
            save_projectors(self.projectors, Path(output_dir or self.args.output_dir))

    # --- evaluating and logging ---

    def prediction_step(
        self, model: nn.Module, inputs: Any, prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> Any:
        """Evaluate a batch; whole logits are made only where ``compute_metrics`` or ``predict`` wants them."""
        self._whole_logits = not prediction_loss_only
        try:
            return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        finally:
            self._whole_logits = False

    def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **options: Any) -> Any:
        """Evaluate, with the parts of the loss among the metrics.

        With several processes the rows that fill up the last batches count twice.
        """
        self._meters[False] = Meter()  # whatever an evaluation that was broken off has left
        output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **options)
        found = self._means(training=False)
        if "ce" in found:
            found["loss"] = total_of(found, self.args)
        output.metrics.update({f"{metric_key_prefix}_{name}": value for name, value in found.items()})
        return output

    def log(self, logs: dict[str, float], *args: Any, **options: Any) -> None:
        """Log, with the parts of the loss beside it."""
        super().log({**logs, **self._means(training=True)} if "loss" in logs else logs, *args, **options)

    def _means(self, *, training: bool) -> dict[str, float]:
        found = {}
        taken = self._meters[training].take(lambda sums: self.accelerator.reduce(sums, "sum"))
        for name, (mean, weight) in taken.items():
            if name.startswith("loss/"):
                found[f"tokens/{name.removeprefix('loss/')}"] = weight
            if weight:
                found[name] = mean
        return found
