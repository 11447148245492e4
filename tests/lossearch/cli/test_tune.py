"""Messages of ``lossearch tune`` about a path without a run."""

import pytest
from typer.testing import CliRunner

from lossearch.cli.app import app

TOO_LONG = " + ".join(f"{number}*ce(z)" for number in range(1, 60))


@pytest.mark.parametrize("more", [[], ["--no-random-search"]])
def test_a_formula_in_place_of_a_run_is_refused_at_any_length(more):
    result = CliRunner().invoke(app, ["tune", TOO_LONG, *more])
    assert result.exit_code == 2
    assert "expected the directory of a run, got no such directory" in result.stderr
    assert TOO_LONG not in result.stderr
    assert "Errno" not in result.stderr


def test_the_run_with_the_nearest_name_is_suggested(tmp_path):
    (tmp_path / "noisy_labels").mkdir()
    result = CliRunner().invoke(app, ["tune", str(tmp_path / "noisy_label")])
    assert result.exit_code == 2
    assert "did you mean noisy_labels?" in result.stderr
