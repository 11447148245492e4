"""Fidelity: how much training one evaluation spends."""

import math

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from evaluators.networks import Proxy


class Fidelity(BaseModel):
    """The proxy training: stochastic gradient descent with momentum and a cosine decay to zero.

    ``rungs`` make it successive halving (Jamieson and Talwalkar, AISTATS 2016): after so many steps the best go on,
    from where they are, and the others stop.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    steps: int = Field(200, ge=1, le=1_000_000, description="optimiser steps")
    batch_size: int = Field(64, ge=2, le=65_536, description="samples in a batch")
    learning_rate: float = Field(0.1, gt=0.0, le=100.0, description="at the first step, after calibration")
    momentum: float = Field(0.9, ge=0.0, lt=1.0, description="of the gradient descent")
    weight_decay: float = Field(0.0, ge=0.0, le=1.0, description="added to the gradient, times the weights")
    shift: int = Field(0, ge=0, le=64, description="augmentation: pixels that an image moves at most, each way")
    flip: bool = Field(False, description="augmentation: mirror half of the images, left to right")
    noise: float = Field(0.0, ge=0.0, le=100.0, description="augmentation: standard deviation of noise on inputs")
    network: Proxy = Field(
        "mlp", description="mlp, cnn, resnet: perceptron, small convolutional, residual; dense: for each pixel"
    )
    hidden: int = Field(64, ge=1, le=65_536, description="units of the last hidden layer: the embedding size")
    seeds: int = Field(2, ge=1, le=1_000, description="trainings of each candidate, with other weights and batches")
    rungs: tuple[int, ...] = Field((), description="steps after which only the best candidates go on; [] trains all")
    reduction_factor: int = Field(3, ge=2, le=100, description="at a rung the best one in so many goes on")

    @field_validator("rungs", mode="before")
    @classmethod
    def _from_list(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _rungs_rise(self) -> "Fidelity":
        for before, rung in zip((0, *self.rungs), (*self.rungs, self.steps), strict=True):
            if rung <= before or (rung != self.steps and self.averaged_from(rung) < before):
                example = [self.steps // 9, self.steps // 3] if self.steps >= 9 else []
                raise ValueError(
                    f"rungs: expected numbers of steps that rise by a third at least and stay below steps = "
                    f"{self.steps}, such as {example}, got {list(self.rungs)}"
                )
        return self

    @property
    def stages(self) -> tuple[int, ...]:
        """The steps at which candidates are scored: every rung, and the end."""
        return (*self.rungs, self.steps)

    @property
    def augmented(self) -> bool:
        """Whether inputs are augmented."""
        return bool(self.shift or self.flip or self.noise)

    def label(self, stage: int | None = None) -> str:
        """Short text that identifies the training of one seed, up to a stage where one is given."""
        extra = f"-wd{self.weight_decay:g}" if self.weight_decay else ""
        extra += f"-shift{self.shift}" if self.shift else ""
        extra += "-flip" if self.flip else ""
        extra += f"-noise{self.noise:g}" if self.noise else ""
        training = f"{self.steps}x{self.batch_size}-lr{self.learning_rate:g}-m{self.momentum:g}{extra}"
        until = "" if stage in (None, self.steps) else f"@{stage}"
        return f"{self.network}{self.hidden}-{training}{until}"

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0: a half cosine to zero."""
        return self.learning_rate * (1.0 + math.cos(math.pi * step / self.steps)) / 2.0

    def averaged_from(self, stage: int) -> int:
        """The step from which weights are averaged for the score at a stage.

        At a rung the learning rate is still high, and the last iterate says little: the mean of the last quarter of the
        iterates is scored (Polyak and Juditsky, 1992). At the end it is the last iterate.
        """
        return stage if stage == self.steps else stage - max(1, stage // 4)
