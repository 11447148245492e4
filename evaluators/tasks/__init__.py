"""The tasks: data divided into parts, its corruption and a metric, under one name each."""

from lossearch.evaluators.tasks.registry import TASKS, known_task, task_on

__all__ = ("TASKS", "known_task", "task_on")
