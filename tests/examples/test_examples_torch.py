"""The examples with torch, run small: they learn what there is to learn, and measure what others measure."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")
pytest.importorskip("hpt_evaluator_torch")

import torch
from sklearn.metrics import ndcg_score

from hpt_core import Study, UsageError, import_object
from hpt_core.study.config import make_study, read_study_file

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def _own_import_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


def study_of(name: str, *overrides: str) -> Study:
    folder = EXAMPLES / name
    data = read_study_file(folder / f"{name}.toml", ["evaluator.device=cpu", *overrides])
    made, _ = make_study({**data, "store": {"use": "memory"}, "sampler": {"use": "random"}}, folder=folder)
    return made


def test_cnn_digits_reads_digits() -> None:
    study = study_of("cnn_digits", "evaluator.epochs=2")
    study.enqueue({"lr": 0.01, "weight_decay": 1e-4, "batch_size": 32, "channels": 8, "hidden": 64, "dropout": 0.1})
    study.run(trials=3)
    assert [trial.state for trial in study.trials] == ["complete"] * 3
    assert study.best is not None
    assert study.best.value is not None
    assert study.best.value > 0.9


@pytest.mark.slow
def test_two_workers_train_the_same_models_as_one() -> None:
    alone, together = (study_of("cnn_digits", "evaluator.epochs=1") for _ in range(2))
    alone.run(trials=2)
    together.run(trials=2, workers=2)
    assert [trial.values for trial in together.trials] == [trial.values for trial in alone.trials]


def test_gru_text_learns_more_than_how_frequent_letters_are() -> None:
    characters = 20_000
    study = study_of("gru_text", "evaluator.epochs=3", f"evaluator.data.characters={characters}")
    study.enqueue({"lr": 0.02, "batch_size": 16, "embedding": 32, "hidden": 64, "dropout": 0.0, "clip_norm": 1.0})
    study.run(trials=2)
    assert study.best is not None
    assert study.best.value is not None
    data = import_object("gru:load_data")(characters)
    counts = Counter(data["train"][0].flatten().tolist())
    total = sum(counts.values())
    targets = data["valid"][1].flatten().tolist()
    frequency_bits = -sum(math.log2(counts[code] / total) for code in targets if counts[code]) / len(targets)
    assert study.best.value < frequency_bits - 0.2
    last = study.best.reports[-1].metrics
    assert study.best.metrics == last
    assert last["perplexity"] == pytest.approx(2**study.best.value)


def test_gru_text_targets_are_the_inputs_shifted_by_one() -> None:
    study_of("gru_text")  # makes its module importable
    data = import_object("gru:load_data")(5_000, length=50)
    inputs, targets = (torch.cat([data["train"][i], data["valid"][i]]).flatten() for i in (0, 1))
    assert torch.equal(inputs[1:], targets[:-1])
    assert len(inputs) == 4_950


def write_ratings(folder: Path) -> None:
    """Ratings of the format of MovieLens 100k: people like what is of their own genre."""
    rng = np.random.default_rng(0)
    films = [(str(i), "Comedy" if i % 2 else "Drama War") for i in range(40)]
    lines = ["item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"]
    lines += [f"{name}\tFilm {name}\t{1960 + int(name)}\t{genres}" for name, genres in films]
    (folder / "ml-100k.item").write_text("\n".join(lines) + "\n", encoding="utf-8")
    lines = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
    for user in range(30):
        for time, item in enumerate(rng.permutation(40)[:30]):
            rating = np.clip(round((4.5 if item % 2 == user % 2 else 1.8) + rng.normal() * 0.5), 1, 5)
            lines.append(f"u{user}\t{item}\t{rating:.0f}\t{time}")
    (folder / "ml-100k.inter").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_recommender_finds_out_who_likes_what(tmp_path: Path) -> None:
    write_ratings(tmp_path)
    study = study_of(
        "recommender", "evaluator.epochs=8", f"evaluator.data={{use='recommender:load_data', folder='{tmp_path}'}}"
    )
    study.enqueue({"lr": 0.05, "weight_decay": 1e-7, "batch_size": 256, "factors": 4, "dropout": 0.0, "content": True})
    study.run(trials=3)
    best = study.best
    assert best is not None
    assert best.value is not None
    ratings = study.evaluator.loaded.valid.tensors[2]
    assert len(ratings) == 30 * 6
    assert best.value < 0.7 * float(ratings.std())
    assert best.reports[-1].metrics["ndcg"] > 0.95


def test_recommender_says_how_to_get_the_data() -> None:
    with pytest.raises(UsageError, match=r"evaluator\.data: load_data failed: .*run download_movielens\.py first"):
        study_of("recommender", "evaluator.data={use='recommender:load_data', folder='nowhere'}")


def test_recommender_measures_ndcg_as_scikit_learn_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES / "recommender"))
    ndcg: Any = import_object("recommender:ndcg")
    rng = np.random.default_rng(1)
    users = torch.from_numpy(rng.permutation(np.repeat([0, 2, 3], [14, 6, 11])))
    targets = torch.from_numpy(rng.integers(1, 6, size=31).astype(np.float32))
    outputs = torch.from_numpy(rng.normal(size=31).astype(np.float32))
    expected = [
        ndcg_score([2.0 ** targets[users == user].numpy() - 1], [outputs[users == user].numpy()], k=10)
        for user in (0, 2, 3)
    ]
    assert ndcg(outputs, targets, (users, users)) == pytest.approx(np.mean(expected), rel=1e-9)
