import pytest
import torch


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Where downloaded and prepared data lies."""
    monkeypatch.setenv("LOSSEARCH_DATA", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="session")
def operators():
    """The operators that torchvision's wheel does not bring beside a torch for CPUs alone."""
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
