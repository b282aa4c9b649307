"""A recommender: matrix factorisation, with the genres and the year of each film as features."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

HERE = Path(__file__).parent


def load_data(folder: str = "ml-100k", held_out: float = 0.2) -> dict[str, Any]:
    """Read ratings and films, and hold out the last ratings of each user.

    Args:
        folder: The folder of ``ml-100k.inter`` and ``ml-100k.item``; a relative path starts beside this file.
        held_out: The share of each user's ratings to hold out for validation.
    """
    if not (HERE / folder).is_dir():
        raise FileNotFoundError(f"no folder {HERE / folder}; run download_movielens.py first, it fetches the data")
    ratings = list(rows(HERE / folder / "ml-100k.inter"))
    users = numbered(row["user_id"] for row in ratings)
    items = numbered(row["item_id"] for row in ratings)
    by_user = defaultdict(list)
    for row in sorted(ratings, key=lambda row: float(row["timestamp"])):
        by_user[users[row["user_id"]]].append((items[row["item_id"]], float(row["rating"])))
    train, valid = [], []
    for user, given in by_user.items():
        cut = len(given) - int(held_out * len(given))
        train += [(user, item, rating) for item, rating in given[:cut]]
        valid += [(user, item, rating) for item, rating in given[cut:]]
    return {
        "train": tensors(train),
        "valid": tensors(valid),
        "users": len(users),  # from here on: arguments of the model, by name
        "mean": sum(rating for _, _, rating in train) / len(train),
        "features": features(HERE / folder / "ml-100k.item", items),
    }


def rows(path: Path) -> Iterator[dict[str, str]]:
    """Yield the lines of a file as dicts. Its first line names the columns, as in ``rating:float``."""
    with path.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        names = [name.partition(":")[0] for name in next(lines)]
        for line in lines:
            yield dict(zip(names, line, strict=True))


def numbered(values: Iterator[str]) -> dict[str, int]:
    """Number the values from 0, in order of first appearance."""
    return {value: i for i, value in enumerate(dict.fromkeys(values))}


def tensors(ratings: list[tuple[int, int, float]]) -> tuple[Any, Any, Any]:
    """Return users, items and ratings: two inputs of the model, and the target."""
    users, items, values = zip(*ratings, strict=True)
    return torch.tensor(users), torch.tensor(items), torch.tensor(values)


def features(path: Path, items: dict[str, int]) -> Any:
    """Return the features of each item: its genres (0 or 1 each) and its year (scaled)."""
    known = {row["item_id"]: row for row in rows(path)}
    genres = sorted({genre for row in known.values() for genre in row["class"].split()})
    table = torch.zeros(len(items), len(genres) + 1)
    for item, i in items.items():
        row = known.get(item, {"class": "", "release_year": ""})
        table[i, [genres.index(genre) for genre in row["class"].split()]] = 1.0
        year = row["release_year"]
        table[i, -1] = (float(year) - 1980.0) / 20.0 if year.replace(".", "", 1).isdigit() else 0.0
    return table


class Recommender(nn.Module):
    """Predicts rating = mean + bias of user and item + <factors of the user, factors of the item>."""

    def __init__(self, factors: int, dropout: float, content: bool, users: int, mean: float, features: Any) -> None:
        super().__init__()
        items, width = features.shape
        self.mean, self.content = mean, content
        self.register_buffer("features", features, persistent=False)
        self.user, self.item = nn.Embedding(users, factors), nn.Embedding(items, factors)
        self.user_bias, self.item_bias = nn.Embedding(users, 1), nn.Embedding(items, 1)
        self.from_features = nn.Linear(width, factors, bias=False)
        self.dropout = nn.Dropout(dropout)
        for table in (self.user, self.item):
            nn.init.normal_(table.weight, std=0.1)
        for table in (self.user_bias, self.item_bias):
            nn.init.zeros_(table.weight)

    def forward(self, users: Any, items: Any) -> Any:
        """(n,) users and (n,) items -> (n,) ratings."""
        liked, like = self.user(users), self.item(items)
        if self.content:
            like = like + self.from_features(self.features[items])
        match = (self.dropout(liked) * like).sum(1)
        return self.mean + match + (self.user_bias(users) + self.item_bias(items)).squeeze(1)


def ndcg(outputs: Any, targets: Any, inputs: tuple[Any, ...], k: int = 10) -> float:
    """Return NDCG@k of the held-out ratings, ranked by prediction: the mean over users, 1 for a perfect order."""
    users = inputs[0]
    scores: list[float] = []
    discounts = 1.0 / torch.log2(torch.arange(2, k + 2, dtype=torch.float64))
    for rows_of_user in torch.argsort(users, stable=True).split(torch.bincount(users).tolist()):
        if len(rows_of_user) == 0:
            continue
        gains = 2.0 ** targets[rows_of_user].double() - 1.0
        found = gains[outputs[rows_of_user].argsort(descending=True, stable=True)][:k]
        ideal = gains.sort(descending=True).values[:k]
        scores.append(((found * discounts[: len(found)]).sum() / (ideal * discounts[: len(ideal)]).sum()).item())
    return sum(scores) / len(scores)
