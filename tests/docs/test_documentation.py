"""README.md and docs/ agree with the code: keys, words, commands, links, counts."""

import re

import pytest
from typer.main import get_command

from lossearch.cli.app import app
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks.arrays import ArrayData
from lossearch.evaluators.tasks.folder import FolderData
from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.language.operators import FUNCTIONS
from lossearch.primitives.language.terminals import TERMINALS
from lossearch.runs.declaration import ExecutorSettings
from lossearch.runs.experiment import EvolutionSettings, Experiment
from lossearch.studies.comparison import Comparison
from tests.docs.guides import PAGES, ROOT, mentioned
from tests.test_rooms import WINGS

EXPERIMENT = [
    ("", Experiment),
    ("fidelity.", TrainingSettings),
    ("evolution.", EvolutionSettings),
    ("executor.", ExecutorSettings),
    ("data.TASK.", FolderData),
    ("data.TASK.", ArrayData),
]
FILES = {"searching": ("experiment", EXPERIMENT), "comparing": ("comparison", [("", Comparison)])}
KEYS = sorted(
    {
        (page, file, f"{section}{name}", field.description)
        for page, (file, sections) in FILES.items()
        for section, model in sections
        for name, field in model.model_fields.items()
        if name not in ("fidelity", "evolution", "executor", "data")
    }
)
TEXTS = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "experiments" / "README.md"]


def text_of(page):
    return (ROOT / "docs" / f"{page}.md").read_text()


@pytest.mark.parametrize(("page", "file", "key", "meaning"), KEYS)
def test_every_key_of_a_file_is_documented_with_its_meaning(page, file, key, meaning):
    section = text_of(page).partition(f"## The {file} file\n")[2].partition("\n#")[0]
    (line,) = [line for line in section.splitlines() if line.startswith(f"| `{key}` |")]
    assert line.endswith(f"| {meaning} |")


def test_every_word_of_the_language_is_documented():
    words = set(re.findall(r"[a-z_0-9]+", text_of("primitives")))
    assert (FUNCTIONS.keys() | TERMINALS.keys()) <= words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_that_is_mentioned_exists_with_its_options(page):
    known = get_command(app).commands
    for _, name, *rest in mentioned(page):
        if name.startswith("--"):
            continue
        parameters = known[name].params
        options = {option for parameter in parameters for option in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in rest if word.startswith("--")} <= options, (name, rest)


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.stem)
def test_every_link_to_our_files_and_headings_has_a_target(page):
    for target in re.findall(r"\]\(\s*([^)\s]+)\)", page.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        name, _, heading = target.partition("#")
        path = page if not name else page.parent / name
        assert path.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in headings}, target


def test_every_page_is_linked_from_the_readme():
    linked = re.findall(r"\]\(\s*(docs/[^)\s]+)\)", (ROOT / "README.md").read_text())
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").iterdir()} <= set(linked)


def test_the_map_shows_the_floors_that_imports_keep():
    rows = re.findall(
        r"^\| `(\w+)/` \| ([^|]+) \|$", text_of("architecture").partition("## Which file")[0], re.MULTILINE
    )
    shown = {room: [set(floor.split(", ")) for floor in floors.split("; ")] for room, floors in rows}
    hidden = {"__init__", "__main__"}
    kept = {room: [wings - hidden for wings in reversed(floors) if wings - hidden] for room, floors in WINGS.items()}
    assert shown == kept


def test_every_file_on_the_map_exists():
    names = set(re.findall(r"`([\w/]+\.py)`", text_of("architecture")))
    files = [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py") if ".venv" not in path.parts]
    assert names
    assert {name for name in names if not any(f"/{file}".endswith(f"/{name}") for file in files)} == set()


def test_every_known_loss_is_counted():
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert "Forty-eight known losses" in changelog
    assert [loss.origin for loss in CATALOG.values()].count("literature") == 48


def test_readme_states_the_evidence():
    """The differences to the best known loss of each family, as docs/evidence.md has them."""
    rows = [
        line.split("|")
        for line in (ROOT / "docs" / "evidence.md").read_text().splitlines()
        if "| yes |" in line or "| no |" in line
    ]
    stated = {row[1].strip().lower(): row[6].strip() for row in rows}
    readme = re.findall(r"^\| ([a-z ]+) \| ([+-][\d.]+ \([^)]*\)) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert dict(readme) == stated
