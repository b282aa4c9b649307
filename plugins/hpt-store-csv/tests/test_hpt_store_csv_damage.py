"""CSV files that were cut off, changed or damaged: what was acknowledged is there, or an error says what to do."""

from __future__ import annotations

import logging
import os
import random
import stat
from collections.abc import Iterator
from contextlib import suppress
from itertools import compress, product
from pathlib import Path

import pytest

from hpt_core import Record, StoreError
from hpt_store_csv import files, log, repair, scan
from hpt_store_csv.layout import Layout, finish
from hpt_store_csv.repair import main
from hpt_store_csv.store import CsvStore

STUDY = "s"
DEFINITION = {"space": {"lr": {"type": "float"}, "model": {"type": "categorical"}}, "objectives": {"loss": "minimize"}}
BATCHES: list[list[Record]] = [
    [{"event": "created", "time": 1.5, "definition": DEFINITION}],
    [{"event": "started", "time": 2.5, "trial": 0, "params": {"lr": 0.125, "model": "svm"}, "seen": 1}],
    [{"event": "reported", "trial": 0, "step": 1, "value": 0.5}, {"event": "note", "text": 'a "quoted", text;'}],
    [{"event": "finished", "trial": 0, "state": "complete", "values": [0.25]}],
    [{"event": "started", "trial": 1, "params": {"lr": 0.25}}, {"n": 1}, {"n": 2}, {"event": "note", "text": "ü" * 40}],
    [{"event": "finished", "trial": 1, "state": "failed", "kind": "error", "message": "=1+1", "detail": "x\ny"}],
]
RECORDS = [record for batch in BATCHES for record in batch]
PREFIXES = [RECORDS[:n] for n in (0, 1, 2, 4, 5, 9, 10)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    store = CsvStore(path=tmp_path / "runs.csv")
    for batch in BATCHES:
        store.append(STUDY, batch)
    return store.path


def read(path: Path) -> list[Record]:
    return list(CsvStore(path=path).read(STUDY))


# --- tails --------------------------------------------------------------------------------------------------


@pytest.fixture
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpt_store_csv.log._SETTLING_SECONDS", 0)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # here the power is only said to fail


@pytest.mark.usefixtures("_no_pause")
def test_every_cut_of_the_tail_opens_and_is_repaired(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = path.read_bytes()
    aside = path.with_name("runs.csv.torn")
    for cut in range(1, 401):
        path.write_bytes(whole[:-cut])
        caplog.clear()
        found = read(path)
        assert found in PREFIXES
        kept = end_of(whole, len(found))
        # Nothing is lost but what the cut touched; the mere end of the last line does not count.
        assert found == max((p for p in PREFIXES if end_of(whole, len(p)) <= len(whole) - cut + 1), key=len)
        torn = max(0, len(whole) - cut - kept)
        assert ("interrupted write" in caplog.text) == bool(torn)
        if cut % 7 == 1:
            store = CsvStore(path=path)
            assert store.append(STUDY, [{"n": "new"}]) == len(found) + 1
            assert read(path) == [*found, {"n": "new"}]
            assert path.read_bytes().startswith(whole[:kept])
            assert (aside.read_bytes() if aside.exists() else b"") == whole[kept : len(whole) - cut]
            aside.unlink(missing_ok=True)


def end_of(content: bytes, records: int) -> int:
    """The offset behind the line of a record; 0 records: behind the header."""
    lines = content.splitlines(keepends=True)
    return sum(map(len, lines[: records + 1]))


@pytest.mark.usefixtures("_no_pause")
@pytest.mark.parametrize("rest", [b"\0" * 4096, b"11,,note" + b"\0" * 100, b"\0" * 50 + b"\n", b"11", b"11,,note,\xff"])
def test_what_a_crash_leaves_is_set_aside(path: Path, rest: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with path.open("ab") as file:
        file.write(rest)
    reader = CsvStore(path=path)
    assert reader.read(STUDY) == reader.read(STUDY) == RECORDS
    assert caplog.messages == [
        f"{path} ends with {len(rest)} bytes of an interrupted write, which are ignored."
    ]  # told once
    store = CsvStore(path=path)
    assert store.append(STUDY, [{"n": 1}]) == 11
    assert f"they were moved to {path}.torn" in caplog.text
    assert reader.read(STUDY, 10) == [{"n": 1}]
    assert Path(f"{path}.torn").read_bytes() == rest


@pytest.mark.usefixtures("_no_pause")
def test_what_is_set_aside_follows_what_was_set_aside_before(path: Path) -> None:
    for rest in (b"11,,note", b"12,,no"):
        with path.open("ab") as file:
            file.write(rest)
        CsvStore(path=path).append(STUDY, [{"n": 1}])
    assert Path(f"{path}.torn").read_bytes() == b"11,,note12,,no"


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
@pytest.mark.usefixtures("_no_pause")
@pytest.mark.parametrize("mode", [0o600, 0o660])
def test_what_is_set_aside_is_as_private_as_the_log(path: Path, mode: int) -> None:
    path.chmod(mode)
    with path.open("ab") as file:
        file.write(b"11,,note")
    CsvStore(path=path).append(STUDY, [{"n": 1}])
    assert stat.S_IMODE(Path(f"{path}.torn").stat().st_mode) == mode


def test_a_batch_that_another_process_is_writing_is_left_out_quietly(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    monkeypatch.setattr("time.sleep", lambda _: path.write_bytes(whole))
    assert read(path) == RECORDS
    assert not caplog.records


# --- damage -------------------------------------------------------------------------------------------------


def flips(content: bytes, seed: int) -> list[bytes]:
    """The content with one bit changed, each byte once; then with several."""
    dice = random.Random(seed)
    found = []
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << dice.randrange(8)
        found.append(bytes(changed))
    for _ in range(500):
        changed = bytearray(content)
        place = dice.randrange(len(content) - 1)
        changed[place : place + 2] = dice.randbytes(2)
        found.append(bytes(changed))
    return found


def accepted(path: Path, contents: list[bytes]) -> list[list[Record]]:
    """What is read from each content that is read at all."""
    found = []
    for content in contents:
        path.write_bytes(content)
        with suppress(StoreError):
            found.append(read(path))
    return found


@pytest.mark.usefixtures("_no_pause")
def test_no_changed_bit_is_taken_for_data(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "hpt")
    content = path.read_bytes()
    single, double = (flips(content, 7)[: len(content)], flips(content, 7)[len(content) :])
    assert accepted(path, single) == []
    # Two bytes at the very end may look like an interrupted write, and two may be what they were.
    assert all(found in (RECORDS, PREFIXES[-2]) for found in accepted(path, double))


@pytest.mark.usefixtures("_no_pause")
def test_without_the_checksum_changed_bits_are_taken_for_data(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "is_whole", bool)
    assert [found for found in accepted(path, flips(path.read_bytes(), 7)) if found not in PREFIXES]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [*lines[:3], *lines[4:]], "line 4: expected record 3, got '4'"),
        (lambda lines: [*lines, lines[-1]], "line 12: expected record 11, got '10'"),
        (lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]], "line 4: expected record 3, got '4'"),
        (lambda lines: [*lines[:4], b"\n", *lines[4:]], "changed by a spreadsheet .*line 5 is blank"),
        (lambda lines: [*lines, b"\n"], "changed by a spreadsheet .*line 12 is blank"),
        (lambda lines: [*lines[:4], b"\0" * 100 + b"\n", *lines[5:]], "line 5: its checksum is wrong"),
        (lambda lines: [line[:-1] + b"\r\n" for line in lines], "line 1 has a Windows line ending"),
        (lambda lines: [lines[0], *(line[:-1] + b"\r\n" for line in lines[1:])], "line 2 has a Windows line ending"),
        (lambda lines: [b"\xef\xbb\xbf" + lines[0], *lines[1:]], "it begins with a byte order mark"),
        (lambda lines: [line.replace(b",", b";") for line in lines], "changed by a spreadsheet|its checksum"),
        (lambda lines: [b"".join(lines).decode().encode("utf-16")], "is not a store of hpt"),
        (lambda _: [b"name,value\nx,1\n"], "is not a store of hpt"),
        (lambda lines: [lines[0][:-20]], "line 1: its checksum is wrong"),
    ],
)
def test_what_was_changed_is_reported_with_its_line_and_left_unchanged(
    path: Path, change: object, message: str
) -> None:
    content = b"".join(change(path.read_bytes().splitlines(keepends=True)))  # type: ignore[operator]  # a lambda
    path.write_bytes(content)
    with pytest.raises(StoreError, match=message):
        read(path)
    with pytest.raises(StoreError, match=message):
        CsvStore(path=path).append(STUDY, [{"n": 1}])
    assert path.read_bytes() == content


CRLF = b"\r\n"


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: [b"\xef\xbb\xbf" + lines[0], *lines[1:]],
        lambda lines: [line[:-1] + CRLF for line in lines],
        lambda lines: [b"\xef\xbb\xbf" + lines[0], *(line[:-1] + CRLF for line in lines[1:]), CRLF],
        lambda lines: [*lines[:4], b"\n", *lines[4:], lines[-1][:0]],
    ],
)
def test_the_remedy_for_other_line_ends_works(path: Path, change: object, capsys: pytest.CaptureFixture[str]) -> None:
    before = path.read_bytes()
    path.write_bytes(b"".join(change(before.splitlines(keepends=True))))  # type: ignore[operator]  # a lambda
    with pytest.raises(StoreError, match=r"python -m hpt_store_csv\.repair runs\.csv"):
        read(path)
    assert main([str(path)]) == 0
    assert path.read_bytes() == before
    changed = before.replace(b"0.125", b"0.13")
    path.write_bytes(changed.replace(b"\n", CRLF))
    assert main([str(path)]) == 4
    assert "the text was changed in line 3, 6" in capsys.readouterr().err
    assert path.read_bytes() == changed.replace(b"\n", CRLF)


@pytest.mark.skipif(os.name == "nt", reason="Windows lets few users make links")
def test_the_file_behind_a_link_is_repaired(path: Path, tmp_path: Path) -> None:
    before = path.read_bytes()
    path.write_bytes(before.replace(b"\n", CRLF))
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "link.csv"
    link.symlink_to(path)
    assert main([str(link)]) == 0
    assert path.read_bytes() == before
    assert link.is_symlink()


def test_nothing_is_appended_while_a_file_is_repaired(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a study appended after the file was read would be lost."""
    replace, store = files.replace, CsvStore(path=path, lock_timeout=0)

    def late(path: Path, content: bytes) -> None:
        with pytest.raises(StoreError, match=rf"runs\.csv for writing: process {os.getpid()} holds it"):
            store.append(STUDY, [{"n": 1}])
        replace(path, content)

    monkeypatch.setattr(repair, "replace", late)
    assert main([str(path)]) == 0
    assert store.append(STUDY, [{"n": 1}]) == len(RECORDS) + 1
    assert read(path) == [*RECORDS, {"n": 1}]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"number,value\n"])
def test_a_file_that_is_no_store_is_not_repaired(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "other.csv"
    path.write_bytes(content)
    assert main([str(path)]) == 4
    assert str(path) in capsys.readouterr().err
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none.csv", "none.csv does not exist."),
        ("folder.csv", "folder.csv is a folder, but must be a file."),
        ("none/runs.csv", "runs.csv does not exist."),
        pytest.param(
            "pipe.csv",
            "pipe.csv is a pipe",
            marks=pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes"),
        ),
    ],
)
def test_what_is_not_a_file_is_not_repaired(
    name: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder.csv").mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.csv")
    assert main([str(tmp_path / name)]) == 4
    assert said in capsys.readouterr().err


def test_without_a_file_the_command_says_how_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "usage: python -m hpt_store_csv.repair [-h] file [file ...]" in capsys.readouterr().err
    assert main(["none.csv"]) == 4
    assert list(tmp_path.iterdir()) == []  # and makes no lock file


def test_the_remedy_for_damage_works(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:7], b"x" + lines[7], *lines[8:]]))
    with pytest.raises(StoreError, match=r"in line 8: .*delete this and all later lines to keep the earlier ones"):
        read(path)
    path.write_bytes(b"".join(lines[:7]))
    assert CsvStore(path=path).append(STUDY, [{"n": 1}]) == 6  # line 7 was written together with line 8
    assert read(path) == [*RECORDS[:5], {"n": 1}]


def test_a_line_with_a_right_checksum_must_still_be_a_record(path: Path) -> None:
    layout = Layout.from_header(path.read_bytes().split(b"\n")[0])
    row = layout.row({"event": "note"}, 11, 11, objectives=[], views={})
    whole = path.read_bytes()
    for column, cell in {"trial": "-x", "more": "[1]", "last": "7"}.items():
        wrong = list(row)
        wrong[layout._at[column]] = cell
        path.write_bytes(whole + finish(wrong) + finish(row))
        with pytest.raises(StoreError, match=r"line 1[23]"):
            read(path)
    path.write_bytes(whole + finish(row[:-1]))
    with pytest.raises(StoreError, match="another number of cells than the header"):
        read(path)


@pytest.mark.parametrize(
    ("column", "cell", "said"),
    [
        ("trial", "-x", "'-x' is not a number"),
        ("more", "[1]", "is not a table"),
        ("more", None, "another number of cells"),
    ],
)
def test_the_line_that_is_no_record_is_named(path: Path, column: str, cell: str | None, said: str) -> None:
    header, *lines = path.read_bytes().splitlines(keepends=True)
    layout = Layout.from_header(header[:-1])
    (row,) = layout.rows([lines[4][:-1]])
    cells = row[:-1]
    cells[layout._at[column]] = cell or ""
    lines[4] = finish(cells if cell else cells[:-1])
    path.write_bytes(b"".join([header, *lines]))
    with pytest.raises(StoreError, match=rf"is damaged in line 6: it is not a valid record \(.*{said}"):
        read(path)


@pytest.mark.parametrize("lazily", [False, True])
def test_a_file_that_is_taken_away_is_not_begun_anew(path: Path, lazily: bool) -> None:
    store = CsvStore(path=path)
    assert store.read(STUDY) == RECORDS
    kept = path.rename(path.with_name("kept.csv"))
    append = store.append_lazily if lazily else store.append
    with pytest.raises(StoreError, match="was moved or deleted while it was in use"):
        append(STUDY, [{"n": "new"}])
    assert not path.exists()
    kept.rename(path)
    assert store.append(STUDY, [{"n": "new"}]) == len(RECORDS) + 1


@pytest.mark.parametrize("cut", ["to nothing", "to its header", "to two records", "to an older copy"])
@pytest.mark.parametrize("lazily", [False, True])
def test_a_file_that_got_shorter_while_it_was_in_use_is_left_unchanged(path: Path, cut: str, lazily: bool) -> None:
    """What a process adds rests on what it has read: behind an older state of the log it would be nonsense."""
    header, *lines = path.read_bytes().splitlines(keepends=True)
    store = CsvStore(path=path)
    assert store.append(STUDY, [{"n": "mine"}]) == len(RECORDS) + 1
    shorter = {"to nothing": b"", "to its header": header}.get(cut, b"".join([header, *lines[:2]]))
    if cut == "to an older copy":
        path.with_name("copy").write_bytes(shorter)
        path.with_name("copy").replace(path)
    else:
        path.write_bytes(shorter)
    store.read(STUDY)
    append = store.append_lazily if lazily else store.append
    for record in ({"n": "new"}, {"event": "amended", "definition": {"space": {"new": {}}}}):
        with pytest.raises(StoreError, match="lacks records that it had before"):
            append(STUDY, [record])
    assert path.read_bytes() == shorter
    store.close()
    assert store.append(STUDY, [{"n": "new"}]) == len(store.read(STUDY))


def test_a_file_that_is_taken_away_after_it_got_columns_is_not_begun_anew(path: Path) -> None:
    store = CsvStore(path=path)
    store.append(STUDY, [{"event": "amended", "definition": {"space": {"new": {}}}}])
    path.unlink()
    with pytest.raises(StoreError, match="was moved or deleted while it was in use"):
        store.append(STUDY, [{"n": "new"}])
    assert not path.exists()


def test_a_newer_format_is_refused_and_left_unchanged(path: Path) -> None:
    header, rest = path.read_bytes().split(b"\n", 1)
    newer = header.replace(b'""hpt-csv"":1', b'""hpt-csv"":2') + b"\n" + rest
    path.write_bytes(newer)
    for action in (lambda: read(path), lambda: CsvStore(path=path).append(STUDY, [{}]), CsvStore(path=path).studies):
        with pytest.raises(StoreError, match=r"newer hpt-store-csv \(format 2, known: 1\)"):
            action()
    assert path.read_bytes() == newer


def test_whatever_pages_a_power_cut_keeps_of_what_was_written_lazily_it_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any of the pages that were not synchronised may be on the disk or not; the size is."""
    store, cut = CsvStore(path=tmp_path / "runs.csv"), tmp_path / "cut.csv"
    store.append(STUDY, [{"event": "created", "time": 1.5, "definition": DEFINITION}])
    synced = store.path.read_bytes()

    def fsync(fd: int) -> None:
        nonlocal synced
        synced = store.path.read_bytes()

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(log, "_SETTLING_SECONDS", 0.0)
    page, known, luck = 4096, 1, random.Random(0)
    for number in range(2, 120):
        text = "x" * luck.randrange(300)
        assert store.append_lazily(STUDY, [{"event": "reported", "step": number, "text": text}]) == number
        now = store.path.read_bytes()
        known = number if synced == now else known
        old = synced.ljust(len(now), b"\0")
        for pages in _kept(old, now, page):
            cut.write_bytes(pages)
            found = CsvStore(path=cut).read(STUDY)
            assert len(found) >= known
            assert list(found) == list(store.read(STUDY))[: len(found)]


@pytest.mark.usefixtures("_no_pause")
@pytest.mark.parametrize("lazily", [0, 1, 3])
def test_whatever_pages_a_power_cut_keeps_of_a_batch_that_was_not_acknowledged_it_is_no_damage(
    tmp_path: Path, lazily: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The batch begins anywhere near the end of a page, behind what was written lazily, and is several pages long."""
    caplog.set_level(logging.CRITICAL, "hpt")
    page, cut = 4096, tmp_path / "cut.csv"
    batch: list[Record] = [
        {"event": "note", "text": "x" * length} for length in (10, 2500, 300, 300, 1500, 10, 10, 600)
    ]
    for before_the_page in [*range(40), 150, 400]:
        path = tmp_path / f"{before_the_page}.csv"
        store = CsvStore(path=path)
        store.append(STUDY, BATCHES[0])
        late = [{"event": "reported", "step": step} for step in range(lazily)]
        filler = _filler(path, store, page - before_the_page, late)
        store.append(STUDY, [filler])
        old = path.read_bytes()
        for record in late:
            store.append_lazily(STUDY, [record])
        assert len(path.read_bytes()) == page - before_the_page
        store.append(STUDY, batch)
        new, records = path.read_bytes(), list(store.read(STUDY))
        old = old.ljust(len(new), b"\0")
        for pages in _kept(old, new, page):
            cut.write_bytes(pages)
            found = read(cut)
            assert found in (records[:2], *(records[: 3 + n] for n in range(lazily)), records)
            assert CsvStore(path=cut).append(STUDY, [{"n": "new"}]) == len(found) + 1
            assert read(cut) == [*found, {"n": "new"}]
            cut.unlink()


def _filler(path: Path, store: CsvStore, size: int, late: list[Record]) -> Record:
    """A record that makes the file so large, together with those that are to be written lazily behind it."""
    content = path.read_bytes()
    for record in [{"event": "note", "text": ""}, *late]:
        store.append(STUDY, [record])
    rest = size - path.stat().st_size
    path.write_bytes(content)
    store.close()
    return {"event": "note", "text": "x" * rest}


def _kept(old: bytes, new: bytes, page: int) -> Iterator[bytes]:
    """What a power cut may leave of a file: each of its changed pages as it was or as it is."""
    dirty = [at for at in range(0, len(new), page) if new[at : at + page] != old[at : at + page]]
    for kept in product([False, True], repeat=len(dirty)):
        pages = bytearray(old)
        for at in compress(dirty, kept):
            pages[at : at + page] = new[at : at + page]
        yield bytes(pages)
