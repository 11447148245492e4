"""Training settings: how one evaluation trains, declared as ``[fidelity]`` in an experiment."""

import math
from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from lossearch.evaluators.networks import Network


class TrainingSettings(BaseModel):
    """Settings of a training: network, optimiser, schedule of the learning rate, batches and augmentation.

    ``rungs`` make a search successive halving (Jamieson and Talwalkar, AISTATS 2016): at each of these steps the best
    candidates continue from their state, and the others stop.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    steps: int = Field(200, ge=1, le=1_000_000, description="optimiser steps")
    batch_size: int = Field(64, ge=2, le=65_536, description="samples in a batch")
    learning_rate: float = Field(0.1, gt=0.0, le=100.0, description="at the first step, after calibration")
    optimizer: Literal["sgd", "adam"] = Field("sgd", description="sgd with momentum, or adam")
    momentum: float = Field(0.9, ge=0.0, lt=1.0, description="momentum of sgd; beta1 of adam")
    weight_decay: float = Field(0.0, ge=0.0, le=1.0, description="added to the gradient, times the weights")
    schedule: Literal["cosine", "step", "plateau", "constant"] = Field(
        "cosine", description="schedule of the learning rate: cosine to zero, step, plateau or constant"
    )
    milestones: tuple[int, ...] = Field((), description="schedule step: steps after which the rate is multiplied")
    decay: float = Field(0.1, gt=0.0, lt=1.0, description="factor by which step and plateau lower the learning rate")
    patience: int = Field(5, ge=0, le=1_000, description="schedule plateau: epochs without a better validation score")
    warm_up: int = Field(0, ge=0, le=1_000_000, description="steps in which the learning rate rises from zero")
    epoch: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="steps after which a comparison saves its trainings and plateau checks the score",
    )
    class_weight_rate: float | None = Field(
        None,
        gt=0.0,
        le=100.0,
        description="constant learning rate of class weights and centers; left out: the same as the rest",
    )
    fine_tune_from: float | None = Field(
        None, ge=0.0, le=1.0, description="progress from which PEDCC weights are learned; left out: never"
    )
    calibrated: bool = Field(True, description="scale losses so that first gradients are as large as cross-entropy's")
    amp: bool = Field(False, description="compute in bfloat16 on a GPU")
    shift: int = Field(0, ge=0, le=64, description="augmentation: most pixels that an image is shifted, each way")
    flip: bool = Field(False, description="augmentation: mirror half of the images, left to right")
    noise: float = Field(0.0, ge=0.0, le=100.0, description="augmentation: standard deviation of noise on inputs")
    network: Network = Field(
        "mlp",
        description="small proxies: mlp, cnn, resnet; networks of papers: vgg_pedcc, resnet18, resnet18_ir, "
        "emosynthnet; one output for each pixel: dense, fcn, unet",
    )
    hidden: int = Field(64, ge=1, le=65_536, description="units of the last hidden layer: the embedding size")
    seeds: int = Field(2, ge=1, le=1_000, description="trainings of each candidate, with other weights and batches")
    rungs: tuple[int, ...] = Field((), description="steps after which only the best candidates go on; [] trains all")
    reduction_factor: int = Field(3, ge=2, le=100, description="at a rung, one of this many candidates goes on")

    @field_validator("rungs", "milestones", mode="before")
    @classmethod
    def _list_to_tuple(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _check_rungs(self) -> "TrainingSettings":
        for before, rung in zip((0, *self.rungs), (*self.rungs, self.steps), strict=True):
            if rung <= before or (rung != self.steps and self.averaged_from(rung) < before):
                example = [self.steps // 9, self.steps // 3] if self.steps >= 9 else []
                raise ValueError(
                    f"rungs: expected steps that rise by at least a third and stay below steps = {self.steps}, "
                    f"such as {example}, got {list(self.rungs)}"
                )
        return self

    @model_validator(mode="after")
    def _check_schedule(self) -> "TrainingSettings":
        rising = all(
            low < high for low, high in zip((0, *self.milestones), (*self.milestones, self.steps), strict=True)
        )
        if (self.schedule == "step") != bool(self.milestones) or not rising:
            raise ValueError(
                f"milestones: expected rising steps below steps = {self.steps} with schedule = 'step', and none with "
                f"another schedule, got {list(self.milestones)} with {self.schedule!r}"
            )
        if self.schedule == "plateau" and self.epoch is None:
            raise ValueError("schedule: expected epoch, the steps between two checks of 'plateau', got none")
        if self.warm_up >= self.steps:
            raise ValueError(f"warm_up: expected fewer steps than steps = {self.steps}, got {self.warm_up}")
        return self

    @property
    def stages(self) -> tuple[int, ...]:
        """Steps at which candidates are scored: every rung, and the last step."""
        return (*self.rungs, self.steps)

    @property
    def augmented(self) -> bool:
        """True if inputs are augmented."""
        return bool(self.shift or self.flip or self.noise)

    def label(self, stage: int | None = None) -> str:
        """Return a short text that identifies the training of one seed, up to a stage if one is given."""
        extra = f"-wd{self.weight_decay:g}" if self.weight_decay else ""
        extra += "".join(self._label_parts())
        extra += f"-shift{self.shift}" if self.shift else ""
        extra += "-flip" if self.flip else ""
        extra += f"-noise{self.noise:g}" if self.noise else ""
        training = f"{self.steps}x{self.batch_size}-lr{self.learning_rate:g}-m{self.momentum:g}{extra}"
        until = "" if stage in (None, self.steps) else f"@{stage}"
        network = f"{self.network}-" if self.network[-1].isdigit() else self.network
        return f"{network}{self.hidden}-{training}{until}"

    def _label_parts(self) -> Iterator[str]:
        """Yield the parts of the label that differ from the defaults of optimiser, schedule and class weights."""
        if self.optimizer != "sgd":
            yield f"-{self.optimizer}"
        if self.schedule != "cosine":
            yield {
                "step": f"-step{'+'.join(map(str, self.milestones))}x{self.decay:g}",
                "plateau": f"-plateau{self.patience}of{self.epoch}x{self.decay:g}",
                "constant": "-constant",
            }[self.schedule]
        for name, value in (
            ("warm", self.warm_up or None),
            ("cw", self.class_weight_rate),
            ("ft", self.fine_tune_from),
        ):
            if value is not None:
                yield f"-{name}{value:g}"
        if not self.calibrated:
            yield "-raw"
        if self.amp:
            yield "-amp"

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0, before a plateau lowers it."""
        warm_up = min(1.0, (step + 1) / (self.warm_up + 1))
        if self.schedule == "cosine":
            return self.learning_rate * warm_up * (1.0 + math.cos(math.pi * step / self.steps)) / 2.0
        passed = sum(step >= milestone for milestone in self.milestones)
        return self.learning_rate * warm_up * self.decay**passed

    def averaged_from(self, stage: int) -> int:
        """Return the step after which iterates are averaged for the score at a stage.

        At a rung the learning rate is still high, and the last iterate says little. The mean of the last quarter of the
        iterates is scored there (Polyak and Juditsky, 1992). Elsewhere the last iterate is scored.
        """
        return stage - max(1, stage // 4) if stage in self.rungs else stage
