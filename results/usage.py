"""Usage: how to call an exported loss, as lines of Python for its model card."""

import json

from lossearch.results.exportable import Exportable
from lossearch.results.plain_text import plain


def usage(loss: Exportable, file: str, form: str) -> str:
    """A section with an example for a file of this name, in the format py, onnx or pt2."""
    features = "embeddings" if loss.over_embeddings else "logits"
    name = json.dumps(plain(file))
    if form == "onnx":
        lines = [
            "import onnxruntime",
            "",
            f"session = onnxruntime.InferenceSession({name})",
            f'(value,) = session.run(None, {{"{features}": {features}, "target": target}})  # float32, int64 indices',
        ]
    elif form == "pt2":
        lines = [
            "import torch",
            "",
            f"loss = torch.export.load({name}).module()",
            f"value = loss({features}, target)  # float32, int64 indices",
        ]
    else:
        module = file.removesuffix(".py")
        where = f"from {module} import Loss" if module.isidentifier() else f"# Loss is the class in {name}"
        lines = ["import torch", "", where, "", *_construction(loss), f"value = loss({features}, target)"]
    return "\n".join(["## Use", "", "```python", *lines, "```"])


def _construction(loss: Exportable) -> list[str]:
    lines, arguments = [], ["num_classes=100", "embedding_size=512"] if loss.over_embeddings else []
    if "prior" in loss.formula.names:
        lines.append("frequencies = counts / counts.sum()  # of the classes in the training set")
        arguments.append("prior=frequencies")
    lines.append(f"loss = Loss({', '.join(arguments)})")
    if _learns(loss):
        lines.append("optimizer = torch.optim.SGD([*network.parameters(), *loss.parameters()], lr=learning_rate)")
    if "progress" in loss.formula.names or loss.fine_tune_from is not None:
        lines.append("loss.set_progress(step / steps)  # before each step")
    return lines


def _learns(loss: Exportable) -> bool:
    """Whether the module owns parameters that an optimiser moves."""
    fixed = loss.class_weights == "pedcc" and loss.fine_tune_from is None
    return loss.over_embeddings and (not fixed or "dist2" in loss.formula.names)
