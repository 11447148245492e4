"""Workers: the executor that a declaration and the command ask for."""

from lossearch.declaration import ExecutorSettings
from lossearch.evaluators.executors.executor import Executor, InlineExecutor
from lossearch.primitives.errors import UserError


def executor_for(settings: ExecutorSettings, kind: str | None = None, ray_address: str | None = None) -> Executor:
    """The executor asked for: ``kind`` before ``ray_address`` before the declared one. Raises UserError."""
    kind = kind or ("ray" if ray_address else settings.kind)
    if kind not in ("ray", "inline"):
        raise UserError(f"Expected executor to be ray or inline, got {kind!r}.")
    if kind == "inline":
        if ray_address is not None:
            raise UserError(f"Expected no Ray address beside the inline executor, got {ray_address!r}.")
        return InlineExecutor(settings.device)
    from lossearch.evaluators.executors.cluster_address import of_job, require_answer

    ray_address = ray_address or of_job()
    if ray_address is not None:
        require_answer(ray_address)
    from lossearch.evaluators.executors.ray_executor import RayExecutor

    return RayExecutor(ray_address, settings.workers, settings.deadline, settings.device)
