import pytest

from lossearch.engine.archive_file import ArchiveFile
from lossearch.primitives.identity.fingerprint import fingerprint
from lossearch.primitives.language.parser import parse


def entries(*texts):
    return [(fingerprint(parse(text)), text) for text in texts]


def test_appended_entries_are_read_back_exactly(tmp_path):
    file, appended = ArchiveFile(tmp_path / "archive"), entries("ce(z)", "abs(p - y)", "ce(cosine)")
    file.append(appended[:2])
    written = file.append(appended)
    assert ArchiveFile(tmp_path / "archive").read(written) == appended
    assert len((tmp_path / "archive").read_text().splitlines()) == 3  # nothing is written twice


def test_entries_after_the_checkpoint_are_cut_off(tmp_path):
    path, appended = tmp_path / "archive", entries("ce(z)", "abs(p - y)", "ce(cosine)")
    written = ArchiveFile(path).append(appended[:1])
    path.write_text(path.read_text() + '["logits80", 0.5, 0.')  # of a process that died
    again = ArchiveFile(path)
    assert again.read(written) == appended[:1]
    assert ArchiveFile(path).read(again.append(appended)) == appended


def test_a_file_shorter_than_its_checkpoint_is_refused(tmp_path):
    path = tmp_path / "archive"
    written = ArchiveFile(path).append(entries("ce(z)", "abs(p - y)"))
    path.write_text(path.read_text().splitlines()[0] + "\n")
    with pytest.raises(ValueError, match=r"expected at least [0-9]+ bytes in archive, got [0-9]+"):
        ArchiveFile(path).read(written)
    path.unlink()
    with pytest.raises(OSError, match="archive"):
        ArchiveFile(path).read(written)


def test_an_archive_without_entries_has_no_file(tmp_path):
    written = ArchiveFile(tmp_path / "archive").append([])
    assert not (tmp_path / "archive").exists()
    assert ArchiveFile(tmp_path / "archive").read(written) == []
