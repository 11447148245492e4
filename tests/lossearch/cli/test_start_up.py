"""Commands that list or check import no library that takes seconds to import."""

import subprocess
import sys

import pytest

#: Libraries that take seconds, and what a command may need of them.
HEAVY = ("torch", "sympy", "sklearn", "scipy", "optuna", "ray", "deap", "pyarrow", "plotly", "pandas")

PROGRAM = f"""
import sys
sys.argv[0] = "lossearch"
from lossearch.cli.app import main
try:
    main()
except SystemExit:
    pass
print(sorted({set(HEAVY)!r} & sys.modules.keys()), file=sys.stderr)
"""


def loaded_by(*words):
    """Return the large libraries that a command has imported when it ends."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=True)
    assert done.stdout
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "words", [["losses"], ["losses", "focal", "--json"], ["tasks"], ["tasks", "--json"], ["--help"], ["--version"]]
)
def test_lists_import_no_library_that_takes_seconds(words):
    assert loaded_by(*words) == "[]"


def test_a_plan_imports_neither_what_measures_nor_what_tunes(tmp_path):
    (tmp_path / "shapes.toml").write_text('name = "a"\ntask = "shapes"\n[fidelity]\nnetwork = "mlp"\nsteps = 9\n')
    loaded = loaded_by("search", str(tmp_path / "shapes.toml"), "--dry-run")
    assert not any(name in loaded for name in ("sklearn", "scipy", "optuna", "ray", "plotly", "pandas"))
