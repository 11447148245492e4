import pytest
import torch

from lossearch.evaluators.data import torchvision_data


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder for downloaded and prepared data. Packages of the system with published data are hidden."""
    monkeypatch.setattr(torchvision_data, "SYSTEM", tmp_path / "system")
    monkeypatch.setenv("LOSSEARCH_DATA", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="session")
def operators():
    """Operators that torchvision needs at import, defined here if its wheel does not suit a CPU-only torch."""
    library = torch.library.Library("torchvision", "DEF")
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library.define("nms(Tensor boxes, Tensor scores, float threshold) -> Tensor")
        library.define("qnms(Tensor boxes, Tensor scores, float threshold) -> Tensor")
    return library


@pytest.fixture
def datasets(operators):
    from torchvision import datasets

    return datasets
