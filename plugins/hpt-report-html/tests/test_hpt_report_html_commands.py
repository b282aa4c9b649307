"""The commands ``hpt report`` and ``hpt importance``."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hpt_core import Float, Study
from hpt_core.cli.group import hpt as group
from hpt_report_html.commands import _file


@pytest.fixture
def store(tmp_path: Path) -> str:
    place = f"sqlite:///{tmp_path / 'hpt.db'}"
    study = Study({"x": Float(0, 1), "y": Float(0, 1)}, sampler="random", seed=0, name="one", store=place)
    study.run(lambda params: 3 * params["x"] + params["y"], trials=30)
    study.close()
    return place


def hpt(*words: str) -> Result:
    return CliRunner().invoke(group, words, prog_name="hpt")


def test_importance_prints_a_table_or_json(store: str) -> None:
    table = hpt("importance", "--store", store)
    assert table.exit_code == 0
    first, second = table.stdout.splitlines()
    assert first.split()[0] == "x"
    assert second.split()[0] == "y"
    about = json.loads(hpt("importance", "--store", store, "--json").stdout)
    assert about["schema"] == "hpt/importance/1"
    assert about["objective"] == "value"
    assert [row["parameter"] for row in about["importances"]] == ["x", "y"]
    assert f"{about['importances'][0]['share']:.1%}" in first
    assert first.endswith("  " + 30 * "#")  # the longest bar
    assert table.stdout.isascii()
    assert table.stderr == ""


def test_importance_names_the_objective_if_there_are_several(tmp_path: Path) -> None:
    place = f"sqlite:///{tmp_path / 'two.db'}"
    objective = {"ms": "minimize", "accuracy": "maximize"}
    study = Study({"x": Float(0, 1), "y": Float(0, 1)}, objective=objective, sampler="random", seed=0, store=place)
    study.run(lambda params: {"ms": params["x"], "accuracy": params["y"]}, trials=30)
    study.close()
    first = hpt("importance", "--store", place)
    assert first.stdout.startswith("x ")
    assert first.stderr == "Importances for ms. Use --objective for another objective.\n"
    second = hpt("importance", "--store", place, "--objective", "accuracy")
    assert second.stdout.startswith("y ")
    about = json.loads(hpt("importance", "--store", place, "--objective", "accuracy", "--json").stdout)
    assert (about["objective"], about["importances"][0]["parameter"]) == ("accuracy", "y")
    assert second.stderr == ""


@pytest.mark.parametrize(
    ("place", "title"),
    [
        ("runs/hpt.db", "hpt.db"),
        ("runs/a?b@c.db", "a?b@c.db"),
        ("sqlite:///runs/hpt.db", "hpt.db"),
        ("postgresql://ann:secret@host/db", "db"),
        ("postgresql://ann:se?cret@host", "host"),
        ("postgresql://ann@host/db?password=se/cr@t", "db"),
        ("postgresql:///?service=mine", "postgresql"),
    ],
)
def test_the_title_of_a_page_has_no_password(place: str, title: str) -> None:
    assert _file(place) == title


def test_an_existing_report_is_overwritten_only_with_force(store: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    before = (tmp_path / "hpt.db").read_bytes()
    first = hpt("report", "--store", store, "-o", str(page))
    assert first.exit_code == 0
    assert first.stdout == ""
    assert f"30 trials written to {page}." in first.stderr
    assert "<h1>The study in hpt.db</h1>" in page.read_text(encoding="utf-8")
    assert (tmp_path / "hpt.db").read_bytes() == before

    again = hpt("report", "--store", store, "-o", str(page))
    assert again.exit_code == 2
    assert f"{page} already exists. Use --force to overwrite it." in again.stderr
    assert hpt("report", "--store", store, "--study", "one", "-o", str(page), "--force").exit_code == 0
    assert "<h1>one</h1>" in page.read_text(encoding="utf-8")


def test_a_page_is_replaced_as_a_whole_also_through_a_link(store: str, tmp_path: Path) -> None:
    page, link = tmp_path / "page.html", tmp_path / "link.html"
    assert hpt("report", "--store", store, "-o", str(page)).exit_code == 0
    link.symlink_to("page.html")
    before, files = page.read_bytes(), {path.name for path in tmp_path.iterdir()}
    with page.open("rb") as reader:
        assert hpt("report", "--store", store, "--study", "one", "-o", str(link), "--force").exit_code == 0
        assert reader.read() == before
    assert link.is_symlink()
    assert "<h1>one</h1>" in page.read_text(encoding="utf-8")
    assert {path.name for path in tmp_path.iterdir()} == files


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions and pipes")
def test_a_replaced_page_keeps_its_permissions_and_a_pipe_is_written_to(store: str, tmp_path: Path) -> None:
    page, pipe = tmp_path / "page.html", tmp_path / "pipe"
    assert hpt("report", "--store", store, "-o", str(page)).exit_code == 0
    page.chmod(0o640)
    assert hpt("report", "--store", store, "-o", str(page), "--force").exit_code == 0
    assert stat.S_IMODE(page.stat().st_mode) == 0o640

    os.mkfifo(pipe)
    with (tmp_path / "copy").open("wb") as copy, subprocess.Popen(["cat", pipe], stdout=copy):
        assert hpt("report", "--store", store, "-o", str(pipe), "--force").exit_code == 0
    assert (tmp_path / "copy").read_bytes() == page.read_bytes()
    assert pipe.is_fifo()


def test_force_overwrites_only_html_pages_and_empty_files(store: str, tmp_path: Path) -> None:
    database = tmp_path / "hpt.db"
    before = database.read_bytes()
    refused = hpt("report", "--store", store, "-o", str(database), "--force")
    assert refused.exit_code == 2
    assert f"{database} is not an HTML page, so --force does not overwrite it." in refused.stderr
    assert database.read_bytes() == before
    empty = tmp_path / "empty"
    empty.touch()
    assert hpt("report", "--store", store, "--study", "one", "-o", str(empty), "--force").exit_code == 0
    assert empty.read_bytes().startswith(b"<!doctype html>")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["report", "--store", "{here}/none.db"], 4, "Select another store (--store in the shell)"),
        (["report", "--store", ""], 2, "No store handles ''."),
        (["report", "--study", "two"], 4, "There is no study 'two'"),
        (["report", "-o", "{here}/no/such/folder.html"], 2, "cannot be written"),
        (["report", "-o", "{here}/" + "x" * 300], 2, "cannot be written: File name too long."),
        (["importance", "--objective", "valu"], 2, "The study has no objective 'valu'. It has: value."),
    ],
)
def test_mistakes_are_reported_without_a_traceback(
    store: str, tmp_path: Path, words: list[str], code: int, message: str
) -> None:
    words = [word.format(here=tmp_path) for word in words]
    result = hpt(*words, *(() if "--store" in words else ("--store", store)))
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_importance_refuses_too_few_trials(tmp_path: Path) -> None:
    place = f"sqlite:///{tmp_path / 'few.db'}"
    study = Study({"x": Float(0, 1)}, sampler="random", store=place)
    study.run(lambda params: params["x"], trials=3)
    study.close()
    result = hpt("importance", "--store", place)
    assert result.exit_code == 2
    assert "Importances need 10 complete trials; the study has 3." in result.stderr
    assert hpt("report", "--store", place, "-o", str(tmp_path / "few.html")).exit_code == 0
