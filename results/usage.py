"""Usage: how to call an exported loss, as lines of Python for its model card."""

from pathlib import PurePath

from results.exportable import Exportable


def usage(loss: Exportable, file: str) -> str:
    """A section with an example for the format that the file's ending says."""
    features = "embeddings" if loss.over_embeddings else "logits"
    if file.endswith(".onnx"):
        lines = [
            "import onnxruntime",
            "",
            f'session = onnxruntime.InferenceSession("{file}")',
            f'(value,) = session.run(None, {{"{features}": {features}, "target": target}})  # float32, int64 indices',
        ]
    elif file.endswith(".py"):
        lines = [f"from {PurePath(file).stem} import Loss", "", *_construction(loss)]
        lines.append(f"value = loss({features}, target)")
    else:
        lines = [
            "import torch",
            "",
            f'loss = torch.export.load("{file}").module()',
            f"value = loss({features}, target)  # float32, int64 indices",
        ]
    return "\n".join(["## Use", "", "```python", *lines, "```"])


def _construction(loss: Exportable) -> list[str]:
    lines, arguments = [], ["num_classes=100", "embedding_size=512"] if loss.over_embeddings else []
    if "prior" in loss.formula.names:
        lines.append("frequencies = counts / counts.sum()  # of the classes in the training set")
        arguments.append("prior=frequencies")
    lines.append(f"loss = Loss({', '.join(arguments)})")
    if loss.over_embeddings and loss.class_weights != "pedcc":
        lines.append("optimizer = torch.optim.SGD([*network.parameters(), *loss.parameters()], lr=0.1)")
    if "progress" in loss.formula.names or loss.class_weights == "pedcc":
        lines.append("loss.set_progress(step / steps)  # before each step")
    return lines
