"""The ``lossearch losses``, ``tasks`` and ``download`` commands."""

from typing import Annotated, Any

import typer

from lossearch.cli.output import JsonFlag, print_json, reported


def losses(
    name: Annotated[str | None, typer.Argument(help="Name of a known loss.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List the known losses, or show one."""
    with reported():
        from lossearch.primitives.catalog import CATALOG, known_loss

        chosen = list(CATALOG.values()) if name is None else [known_loss(name)]
        if as_json:
            described = [loss.describe() for loss in chosen]
            print_json(described if name is None else described[0])
        elif name is None:
            width = max(map(len, CATALOG))
            for loss in chosen:
                print(f"{loss.name:{width}}  {_describe_inputs(loss):17}  {loss.text}")
        else:
            _print_loss(chosen[0])


def tasks(as_json: JsonFlag = False) -> None:
    """List the tasks that losses can be searched on."""
    with reported():
        from lossearch.evaluators.tasks import TASKS

        if as_json:
            print_json([task.describe() for task in TASKS.values()])
            return
        width = max(map(len, TASKS))
        for needs_download in (False, True):
            for task in TASKS.values():
                if task.needs_download == needs_download:
                    source = f"; data: {task.data_from}" if needs_download else ""
                    print(f"{task.name:{width}}  {task.summary}{source}")


def download(task: Annotated[str, typer.Argument(help="Name of a task that needs data.", metavar="TASK")]) -> None:
    """Download the data of a task, if its publisher allows programs to."""
    with reported():
        from lossearch.evaluators.tasks.download import download_task

        print(download_task(task))


def _describe_inputs(loss: Any) -> str:
    """Return the inputs of the loss's module."""
    over = "embeddings" if loss.formula.looks_at_embeddings else "logits"
    return f"{over}, prior" if "prior" in loss.formula.names else over


def _print_loss(loss: Any) -> None:
    print(f"{loss.name}: {loss.text}")
    for parameter in loss.hyperparameters:
        scale = ", logarithmic" if parameter.log else ", whole" if parameter.whole else ""
        print(f"  {parameter.name} = {parameter.default:g}, between {parameter.low:g} and {parameter.high:g}{scale}")
    if loss.formula.looks_at_embeddings:
        print(f"  over embeddings, with {loss.class_weights} class weights")
    if "prior" in loss.formula.names:
        print("  needs prior, the class frequencies")
    if loss.aliases:
        print(f"  also called {', '.join(loss.aliases)}")
    print(f"  source: {loss.source}")
