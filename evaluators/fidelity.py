"""Fidelity: how much training one evaluation spends."""

from pydantic import BaseModel, ConfigDict, Field

from evaluators.networks import Proxy


class Fidelity(BaseModel):
    """The proxy training: stochastic gradient descent with momentum and a cosine decay to zero."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    steps: int = Field(200, ge=1, le=1_000_000, description="optimiser steps")
    batch_size: int = Field(64, ge=2, le=65_536, description="samples in a batch")
    learning_rate: float = Field(0.1, gt=0.0, le=100.0, description="at the first step, after calibration")
    momentum: float = Field(0.9, ge=0.0, lt=1.0, description="of the gradient descent")
    weight_decay: float = Field(0.0, ge=0.0, le=1.0, description="added to the gradient, times the weights")
    network: Proxy = Field("mlp", description="mlp, cnn or resnet: perceptron, small convolutional or residual")
    hidden: int = Field(64, ge=1, le=65_536, description="units of the last hidden layer: the embedding size")
    seeds: int = Field(2, ge=1, le=1_000, description="trainings of each candidate, with other weights and batches")

    def label(self) -> str:
        """Short text that identifies the training of one seed."""
        extra = f"-wd{self.weight_decay:g}" if self.weight_decay else ""
        training = f"{self.steps}x{self.batch_size}-lr{self.learning_rate:g}-m{self.momentum:g}{extra}"
        return f"{self.network}{self.hidden}-{training}"
