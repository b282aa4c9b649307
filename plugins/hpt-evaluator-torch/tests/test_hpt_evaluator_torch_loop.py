"""The training loop gives the losses of a hand-written one, bit for bit on a CPU."""

# ruff: noqa: NPY002 - custom augmentations draw from the global generator

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from hpt_core import EvaluationError, Report, Study, TrialContext
from hpt_evaluator_torch.evaluator import TorchEvaluator

SEED = 1234


def tensors() -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 6)).astype(np.float32)
    y = (X[:, 0] + X[:, 1] ** 2 > 0.5).astype(np.int64)
    return (torch.from_numpy(X[:70]), torch.from_numpy(y[:70])), (torch.from_numpy(X[70:]), torch.from_numpy(y[70:]))


def make_model(hidden: int = 8, dropout: float = 0.3) -> Any:
    nn = torch.nn
    return nn.Sequential(nn.Linear(6, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 2))


class Rows(torch.utils.data.Dataset):
    """A dataset that augments its rows at random."""

    def __init__(self, X: Any, y: Any) -> None:
        self.X, self.y = X, y

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, i: int) -> tuple[Any, Any]:
        noise = random.random() + np.random.random() + float(torch.rand(()))
        return self.X[i] * (1 + 0.01 * noise), self.y[i]


def by_hand(
    optimizer: Callable[[Any], Any],
    *,
    epochs: int,
    batch_size: int,
    scheduler: Callable[[Any], Any] | None = None,
    clip: float | None = None,
    dataset: Any = None,
    **model: Any,
) -> list[tuple[float, float, float]]:
    """(training loss, validation loss, accuracy) per epoch, from a loop without hpt."""
    (X, y), (V, w) = tensors()
    dataset = dataset or torch.utils.data.TensorDataset(X, y)
    random.seed(SEED)
    np.random.seed(SEED)
    torch.manual_seed(SEED)
    net = make_model(**model)
    steps = optimizer(net.parameters())
    rate = scheduler(steps) if scheduler else None
    criterion = torch.nn.CrossEntropyLoss()
    results = []
    for epoch in range(1, epochs + 1):
        order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(SEED + epoch)).tolist()
        loader = torch.utils.data.DataLoader(
            dataset, batch_size=batch_size, sampler=order, generator=torch.Generator().manual_seed(0)
        )
        net.train()
        total = 0.0
        for inputs, targets in loader:
            steps.zero_grad()
            loss = criterion(net(inputs), targets)
            loss.backward()
            if clip is not None:
                torch.nn.utils.clip_grad_norm_(net.parameters(), clip)
            steps.step()
            total += loss.item() * len(targets)
        net.eval()
        with torch.no_grad():
            outputs = net(V)
            accuracy = (outputs.argmax(1) == w).double().mean().item()
            results.append((total / len(dataset), criterion(outputs, w).item(), accuracy))
        if rate is not None:
            rate.step()
    return results


def by_hpt(params: dict[str, Any], seed: int = SEED, data: Any = tensors, **options: Any) -> list[Report]:
    evaluator = TorchEvaluator(model=make_model, data=data, device="cpu", **options)
    return list(evaluator.evaluate(TrialContext(params=params, seed=seed, objectives=("accuracy",))))


def numbers(reports: list[Report]) -> list[tuple[float, float, float]]:
    return [(r.metrics["train_loss"], r.metrics["loss"], r.value) for r in reports]


def test_plain_adam_equals_a_hand_written_loop_bit_for_bit() -> None:
    found = numbers(by_hpt({"lr": 0.02, "hidden": 5, "batch_size": 16}, epochs=3))
    assert found == by_hand(lambda p: torch.optim.Adam(p, lr=0.02), epochs=3, batch_size=16, hidden=5)


def test_all_tunable_settings_equal_a_hand_written_loop_bit_for_bit() -> None:
    params = {
        "optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3, "scheduler": "cosine", "eta_min": 1e-3,
        "epochs": 4, "batch_size": 32, "clip_norm": 0.5, "dropout": 0.1,
    }  # fmt: skip
    expected = by_hand(
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-3),
        epochs=4,
        batch_size=32,
        scheduler=lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=4, eta_min=1e-3),
        clip=0.5,
        dropout=0.1,
    )
    assert numbers(by_hpt(params, epochs=10)) == expected


def test_a_dataset_with_random_augmentation_equals_a_hand_written_loop_bit_for_bit() -> None:
    (X, y), valid = tensors()
    found = numbers(by_hpt({"lr": 0.01}, data=lambda: (Rows(X, y), valid), epochs=2, batch_size=16))
    assert found == by_hand(lambda p: torch.optim.Adam(p, lr=0.01), epochs=2, batch_size=16, dataset=Rows(X, y))


def test_a_custom_loader_keeps_its_batch_size_and_is_seeded_per_epoch() -> None:
    def data() -> tuple[Any, Any]:
        (X, y), valid = tensors()
        train = torch.utils.data.TensorDataset(X, y)
        loader = torch.utils.data.DataLoader(train, 10, shuffle=True, generator=torch.Generator())
        return loader, torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*valid), 7)

    options: dict[str, Any] = {"model": make_model, "data": data, "epochs": 2, "device": "cpu"}
    evaluator = TorchEvaluator(**options)
    trial = TrialContext(params={"lr": 0.01}, seed=SEED, objectives=("accuracy",))
    first, again = list(evaluator.evaluate(trial)), list(evaluator.evaluate(trial))
    assert first == again == list(TorchEvaluator(**options).evaluate(trial))


def test_a_validation_loader_that_shuffles_has_the_same_order_each_time() -> None:
    seen: list[list[int]] = []

    def collate(rows: list[Any]) -> Any:
        seen[-1] += [int(row[1]) for row in rows]
        return torch.stack([row[0] for row in rows]), torch.stack([row[1] for row in rows]) % 2

    dataset = torch.utils.data.TensorDataset(torch.randn(12, 6), torch.arange(12))
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=5, shuffle=True, generator=torch.Generator(), collate_fn=collate
    )
    for _ in range(2):
        seen.append([])
        by_hpt({}, data=lambda: (tensors()[0], loader), epochs=1)
    assert sorted(seen[0]) == list(range(12))
    assert seen[0] == seen[1]


def test_a_loader_with_the_global_generator_leaves_the_dropout_of_each_epoch_as_it_is() -> None:
    def data(generator: Any) -> Any:
        train, valid = tensors()
        return train, torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*valid), 7, generator=generator)

    found = by_hpt({}, data=lambda: data(torch.default_generator), epochs=3)
    assert found == by_hpt({}, data=lambda: data(None), epochs=3)


def test_a_loss_that_cannot_be_copied_may_be_a_class() -> None:
    class Weighted(torch.nn.CrossEntropyLoss):
        def __init__(self) -> None:
            super().__init__()
            self.scale = 2 * torch.ones(1, requires_grad=True)  # not a leaf, which torch refuses to copy

    assert numbers(by_hpt({}, loss=Weighted, epochs=1)) == numbers(by_hpt({}, loss="cross_entropy", epochs=1))


def test_a_custom_sampler_of_batches_is_seeded_per_epoch() -> None:
    def data() -> tuple[Any, Any]:
        train, valid = tensors()
        dataset = torch.utils.data.TensorDataset(*train)
        rows = torch.utils.data.RandomSampler(dataset, generator=torch.Generator())
        return torch.utils.data.DataLoader(dataset, batch_sampler=torch.utils.data.BatchSampler(rows, 8, False)), valid

    evaluator = TorchEvaluator(model=make_model, data=data, epochs=2, device="cpu")
    trial = TrialContext(params={"lr": 0.01}, seed=SEED, objectives=("accuracy",))
    first = list(evaluator.evaluate(trial))
    assert list(evaluator.evaluate(trial)) == first
    assert list(evaluator.evaluate(attrs.evolve(trial, resume_step=1))) == first[1:]


@pytest.mark.parametrize(
    "scheduler", ["cosine", "onecycle", "step", "linear", "plateau", {"use": "exponential", "gamma": 0.5}]
)
def test_every_scheduler_runs_without_further_arguments(scheduler: Any) -> None:
    sgd = {"use": "sgd", "lr": 0.1}
    reports = by_hpt({}, scheduler=scheduler, optimizer=sgd, epochs=3)
    assert [report.step for report in reports] == [1, 2, 3]
    assert numbers(reports) != numbers(by_hpt({}, optimizer=sgd, epochs=3)) or scheduler == "plateau"


def test_a_constant_scheduler_keeps_the_length_of_torch() -> None:
    torch_default = {"use": "torch.optim.lr_scheduler:ConstantLR"}
    long = by_hpt({}, scheduler=torch_default, epochs=8)
    assert numbers(long) == numbers(by_hpt({}, scheduler={**torch_default, "total_iters": 5}, epochs=8))


def warm_up(optimizer: Any, total_steps: int, share: float = 0.5) -> Any:
    """A custom schedule: it rises and then falls, one step per batch."""
    peak = max(1, int(share * total_steps))
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda i: (i + 1) / peak if i < peak else (total_steps - i) / total_steps
    )


def test_a_custom_scheduler_with_an_argument_total_steps_steps_once_per_batch() -> None:
    rates: list[float] = []

    class Noting(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    by_hpt({"lr": 1.0, "share": 0.25}, epochs=4, batch_size=32, optimizer=Noting, scheduler=warm_up)
    assert rates == pytest.approx([1 / 3, 2 / 3, 1.0, *((12 - i) / 12 for i in range(3, 12))])


def test_a_custom_scheduler_keeps_its_defaults_and_gets_the_lengths_it_requires() -> None:
    received = []

    def custom(optimizer: Any, T_max: int, step_size: int = 77, total_iters: int = 78, max_lr: float = 79.0) -> Any:
        received.append((T_max, step_size, total_iters, max_lr))
        return torch.optim.lr_scheduler.ConstantLR(optimizer)

    by_hpt({}, scheduler=custom, epochs=3)
    by_hpt({}, scheduler={"use": custom, "step_size": 5}, epochs=3)
    assert received == [(3, 77, 78, 79.0), (3, 5, 78, 79.0)]


def test_a_plateau_scheduler_with_mode_max_watches_the_objective() -> None:
    rates: list[float] = []
    scores = iter([0.1, 0.2, 0.3, 0.3, 0.4, 0.4])

    def score(_outputs: Any, _targets: Any, model: Any) -> float:
        del model
        rates.append(optimizers[0].param_groups[0]["lr"])
        return next(scores)

    optimizers: list[Any] = []

    def sgd(params: Any) -> Any:
        optimizers[:] = [torch.optim.SGD(params, lr=1.0)]
        return optimizers[0]

    plateau = {"use": "plateau", "mode": "max", "patience": 0, "factor": 0.5}
    options: dict[str, Any] = {"optimizer": sgd, "scheduler": plateau, "metrics": {"score": score}, "epochs": 6}
    made = TorchEvaluator(model=make_model, data=tensors, device="cpu", **options)
    study = Study({"hidden": [3]}, objective={"score": "maximize"}, evaluator=made)
    study.run(trials=1)
    assert study.trials[0].state == "complete"
    assert rates == [1.0, 1.0, 1.0, 1.0, 0.5, 0.5]
    with pytest.raises(EvaluationError, match='mode = "max" watches the objective, and loss is minimized'):
        list(made.evaluate(TrialContext(params={"hidden": 3}, objectives=("loss",))))


def test_a_custom_optimizer_may_have_parameter_groups() -> None:
    seen: list[Any] = []

    def make(params: Any, lr: float, model: Any, weight_decay: float = 0.0) -> Any:
        first = list(model[0].parameters())
        rest = [p for p in params if all(p is not other for other in first)]
        made = torch.optim.SGD(
            [{"params": first, "lr": lr / 10}, {"params": rest, "weight_decay": weight_decay}], lr=lr
        )
        seen.append([(len(group["params"]), group["lr"], group["weight_decay"]) for group in made.param_groups])
        return made

    evaluator = TorchEvaluator(model=make_model, data=tensors, optimizer=make, epochs=1, device="cpu")
    study = Study({"lr": [0.5], "weight_decay": [0.1]}, objective={"loss": "minimize"}, evaluator=evaluator)
    study.run(trials=1)
    assert study.trials[0].state == "complete"
    assert seen == [[(2, 0.05, 0), (2, 0.5, 0.1)]]


class Stream(torch.utils.data.IterableDataset):
    """An iterable dataset without a length."""

    def __iter__(self) -> Iterator[Any]:
        (X, y), _ = tensors()
        return iter(zip(X, y, strict=True))


class SizedStream(Stream):
    """An iterable dataset with a length."""

    def __len__(self) -> int:
        return 70


@pytest.mark.parametrize("scheduler", ["cosine", {"use": "onecycle", "total_steps": 14, "max_lr": 0.1}])
def test_an_iterable_dataset_needs_no_length(scheduler: Any) -> None:
    sgd = {"use": "sgd", "lr": 0.1}
    found = by_hpt({}, data=lambda: (Stream(), tensors()[1]), scheduler=scheduler, optimizer=sgd, epochs=2)
    loader = torch.utils.data.DataLoader(Stream(), 32)
    assert found == by_hpt({}, data=lambda: (loader, tensors()[1]), scheduler=scheduler, optimizer=sgd, epochs=2)
    assert [report.step for report in found] == [1, 2]


def test_a_scheduler_over_all_steps_needs_the_length_of_the_data() -> None:
    sgd = {"use": "sgd", "lr": 0.1}
    with pytest.raises(EvaluationError, match=r"OneCycleLR needs to know how many steps.*Give `total_steps`, or the"):
        by_hpt({}, data=lambda: (Stream(), tensors()[1]), scheduler="onecycle", optimizer=sgd)
    total = {"use": "onecycle", "total_steps": 6}
    options: dict[str, Any] = {"data": lambda: (SizedStream(), tensors()[1]), "optimizer": sgd, "epochs": 2}
    assert by_hpt({}, scheduler="onecycle", **options) == by_hpt({}, scheduler=total, **options)


def test_a_tuned_batch_size_replaces_that_of_a_custom_loader() -> None:
    sizes: list[int] = []

    def collate(rows: Any) -> Any:
        sizes.append(len(rows))
        return torch.utils.data.default_collate(rows)

    def data(**options: Any) -> Any:
        train, valid = tensors()
        dataset = torch.utils.data.TensorDataset(*train)
        return torch.utils.data.DataLoader(dataset, collate_fn=collate, **options), valid

    options: dict[str, Any] = {"data": lambda: data(batch_size=16, shuffle=True, drop_last=True), "epochs": 1}
    by_hpt({}, **options)
    by_hpt({"batch_size": 30}, **options)
    assert sizes == [16, 16, 16, 16, 30, 30]
    batches = torch.utils.data.BatchSampler(range(70), 7, drop_last=False)
    with pytest.raises(EvaluationError, match="`batch_size` is tuned, and the DataLoader of the training data makes"):
        by_hpt({"batch_size": 30}, data=lambda: data(batch_sampler=batches))


def test_the_same_seed_gives_the_same_bits_and_another_does_not() -> None:
    assert by_hpt({"lr": 0.01}, epochs=2) == by_hpt({"lr": 0.01}, epochs=2)
    assert by_hpt({"lr": 0.01}, epochs=2) != by_hpt({"lr": 0.01}, seed=7, epochs=2)


def test_random_numbers_drawn_elsewhere_between_epochs_change_nothing() -> None:
    (X, y), valid = tensors()
    evaluator = TorchEvaluator(model=make_model, data=lambda: (Rows(X, y), valid), epochs=3, device="cpu")
    trial = TrialContext(params={"lr": 0.01}, seed=SEED, objectives=("accuracy",))
    undisturbed = list(evaluator.evaluate(trial))
    disturbed = []
    for report in evaluator.evaluate(trial):
        disturbed.append(report)
        torch.rand(3), np.random.random(5), random.random()
    assert undisturbed == disturbed


def test_global_generators_and_the_number_of_threads_are_restored() -> None:
    def seeded_draws(between: Callable[[], Any]) -> list[float]:
        torch.manual_seed(5)
        np.random.seed(5)
        random.seed(5)
        between()
        return [float(torch.rand(())), np.random.random(), random.random()]

    threads = torch.get_num_threads()
    disturbed = seeded_draws(lambda: by_hpt({"lr": 0.01}, epochs=1, threads=threads + 1))
    assert disturbed == seeded_draws(lambda: None)
    assert torch.get_num_threads() == threads


def test_data_is_loaded_once_per_process_with_a_fixed_seed() -> None:
    drawn: list[float] = []

    def data() -> tuple[Any, Any]:
        drawn.append(float(torch.rand(())))
        return tensors()

    evaluator = TorchEvaluator(model=make_model, data=data, epochs=1, device="cpu")
    study = Study({"lr": {"low": 0.01, "high": 0.1}}, objective={"val_loss": "minimize"}, evaluator=evaluator, seed=0)
    study.run(trials=3)
    torch.manual_seed(0)
    assert drawn == [float(torch.rand(()))]
    assert [trial.state for trial in study.trials] == ["complete"] * 3


def test_mixed_precision_uses_the_half_type_of_the_device() -> None:
    seen: list[Any] = []

    class Spy(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(6, 2)

        def forward(self, X: Any) -> Any:
            out = self.layer(X)
            seen.append(out.dtype)
            return out

    evaluator = TorchEvaluator(model=Spy, data=tensors, epochs=1, device="cpu")
    for amp in (True, False):
        list(evaluator.evaluate(TrialContext(params={"amp": amp}, objectives=("loss",))))
    half = torch.get_autocast_dtype("cpu")
    assert seen[0] == half
    assert seen[-1] == torch.float32


def test_drop_last_leaves_out_a_last_small_batch() -> None:
    sizes: list[int] = []

    class Spy(torch.nn.Linear):
        def forward(self, X: Any) -> Any:
            if self.training:
                sizes.append(len(X))
            return super().forward(X)

    evaluator = TorchEvaluator(
        model=lambda: Spy(6, 2), data=tensors, epochs=1, batch_size=32, drop_last=True, device="cpu"
    )
    list(evaluator.evaluate(TrialContext(params={}, objectives=("loss",))))
    assert sizes == [32, 32]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
