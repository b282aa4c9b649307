"""The data of a study and the batches of an epoch; the order of rows is that of ``seed + epoch`` alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import torch
from torch.nn.utils.rnn import PackedSequence
from torch.utils.data import DataLoader, IterableDataset, Sampler, TensorDataset

from hpt_core import EvaluationError, Mistake, UsageError
from hpt_evaluator_torch.arguments import resolve_callable

__all__ = [
    "Data",
    "is_datamodule",
    "load_data",
    "reseed",
    "rows_of",
    "split_batch",
    "train_batches",
    "valid_batches",
]

_PATH = "evaluator.data"
_OF_LOADERS = (
    "collate_fn",
    "drop_last",
    "generator",
    "in_order",
    "multiprocessing_context",
    "num_workers",
    "persistent_workers",
    "pin_memory",
    "prefetch_factor",
    "timeout",
    "worker_init_fn",
)
_LABELS = {torch.bool, torch.int8, torch.int16, torch.int32, torch.uint16, torch.uint32}
_VALID = ("valid", "validation", "val", "test")


@attrs.frozen(eq=False)
class Data:
    """The training and validation data.

    Attributes:
        train: A dataset, a `DataLoader`, or a Lightning datamodule, which has everything; None: the model has.
        valid: The same; None if there is none.
        extras: Further entries of the data, by name; the model function may ask for them.
    """

    train: Any
    valid: Any = None
    extras: Mapping[str, Any] = attrs.field(factory=dict)


def load_data(source: Any) -> Data:
    """Load the data that the option describes.

    Args:
        source: A function, its import path, or a table ``{"use": "module:function", **arguments}``; or what such a
            function returns: a pair (train, validation), a dict with ``train``, ``valid`` and anything else that the
            model function wants to know, or training data alone. Each part is a `Dataset`, a `DataLoader`, or a tuple
            of arrays or tensors whose last one holds the targets. Arrays of floats get torch's default precision.
            None: the model brings its own.

    Raises:
        UsageError: If the function fails, or nothing fitting comes of it.
    """
    if source is None:
        return Data(None)
    name = "data"
    if callable(source) or isinstance(source, str) or (isinstance(source, Mapping) and "use" in source):
        function, arguments = resolve_callable(source, _PATH)
        name = getattr(function, "__name__", name)
        try:
            source = function(**arguments)
        except Exception as err:
            err.__traceback__ = err.__traceback__ and err.__traceback__.tb_next  # without this frame of ours
            raise UsageError(Mistake(_PATH, f"{name} failed: {type(err).__name__}: {err}")) from err
    if isinstance(source, Mapping):
        return _from_mapping(source, name)
    if isinstance(source, (tuple, list)) and len(source) == 2 and not _is_array(source[0]):
        return Data(_part(source[0], name), _part(source[1], name))
    return Data(_part(source, name))


def _from_mapping(source: Mapping[str, Any], name: str) -> Data:
    valid = [key for key in _VALID if key in source]
    if "train" not in source:
        raise UsageError(Mistake(_PATH, f"{name} gives no 'train' part. Got {', '.join(map(str, source)) or 'none'}."))
    extras = {key: value for key, value in source.items() if key != "train" and key not in valid[:1]}
    return Data(_part(source["train"], name), _part(source[valid[0]], name) if valid else None, extras)


def _part(part: Any, name: str) -> Any:
    if isinstance(part, (tuple, list)) and part and all(_is_array(item) for item in part):
        tensors = [_tensor(item, name) for item in part]
        if len(tensors) > 1 and tensors[-1].dtype in _LABELS:
            tensors[-1] = tensors[-1].long()  # cross entropy takes labels of no other type
        rows = [len(tensor) for tensor in tensors]
        if len(set(rows)) > 1:
            hint = "Are they parts without targets? Then give ((train,), (valid,))."
            if len(rows) > 2:
                hint = "Give a tuple of arrays for training and one for validation: ((X, y), (V, w))."
            msg = f"{name} gives arrays of {' and '.join(map(str, rows))} rows that belong together. {hint}"
            raise UsageError(Mistake(_PATH, msg))
        return TensorDataset(*tensors)
    if _is_array(part):
        return TensorDataset(_tensor(part, name))
    usable = hasattr(part, "__getitem__") or hasattr(part, "__iter__") or is_datamodule(part)
    if isinstance(part, (tuple, list)) or not usable:
        msg = f"{name} must give datasets, loaders or tuples of arrays for training and validation. Got {part!r:.80}."
        raise UsageError(Mistake(_PATH, msg))
    return part


def is_datamodule(part: Any) -> bool:
    """Whether it is a ``LightningDataModule``."""
    return hasattr(part, "train_dataloader")


def _is_array(value: Any) -> bool:
    return isinstance(value, torch.Tensor) or (hasattr(value, "__array__") and hasattr(value, "shape"))


def _tensor(value: Any, name: str) -> Any:
    if isinstance(value, torch.Tensor):
        return value
    array = np.ascontiguousarray(value)
    try:
        with warnings.catch_warnings():  # pandas gives read-only arrays; nothing here writes to them
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            tensor = torch.from_numpy(array)
    except TypeError:
        msg = f"{name} gives an array of {array.dtype}, which torch cannot hold: encode it as numbers."
        raise UsageError(Mistake(_PATH, msg)) from None
    return tensor.to(torch.get_default_dtype()) if tensor.dtype == torch.float64 else tensor


class Shuffled(Sampler[int]):
    """All rows of a dataset, in an order that `reseed` gives."""

    def __init__(self, rows: int) -> None:
        self._rows, self._seed = rows, 0

    def set_epoch(self, seed: int) -> None:
        """Set the order to that of this seed."""
        self._seed = seed

    def order(self) -> torch.Tensor:
        """Indices of the rows, shape (rows,)."""
        return torch.randperm(self._rows, generator=torch.Generator().manual_seed(self._seed))

    def __iter__(self) -> Iterator[int]:
        return iter(self.order().tolist())

    def __len__(self) -> int:
        return self._rows


class TensorBatches:
    """What a `DataLoader` would collate of tensors row by row, taken batch by batch."""

    def __init__(self, tensors: Sequence[torch.Tensor], batch_size: int, *, drop_last: bool) -> None:
        self.sampler = Shuffled(len(tensors[0]))
        self._tensors, self._batch_size, self._drop_last = tensors, batch_size, drop_last

    def __len__(self) -> int:
        rows = len(self.sampler)
        return rows // self._batch_size if self._drop_last else -(-rows // self._batch_size)

    def __iter__(self) -> Iterator[list[torch.Tensor]]:
        for chunk in self.sampler.order().split(self._batch_size)[: len(self)]:
            yield [tensor[chunk] for tensor in self._tensors]


def train_batches(source: Any, batch_size: int, *, tuned: bool, drop_last: bool, fast: bool = True) -> Any:
    """What gives the batches of an epoch, each time it is iterated; `reseed` before sets their order.

    Args:
        source: A dataset or a `DataLoader`.
        batch_size: Rows per batch; a loader keeps its own unless ``tuned``.
        tuned: Whether the batch size is a parameter of the space.
        drop_last: Whether a last small batch is left out; a loader knows that itself.
        fast: Whether the batches of tensors may come without a `DataLoader`.
    """
    if isinstance(source, DataLoader):
        return resized(source, batch_size) if tuned else source
    if fast and type(source) is TensorDataset:
        return TensorBatches(source.tensors, batch_size, drop_last=drop_last)
    if isinstance(source, IterableDataset):
        return DataLoader(source, batch_size, drop_last=drop_last)
    own = torch.Generator()  # else the loader draws from the global one
    return DataLoader(source, batch_size, sampler=Shuffled(len(source)), generator=own, drop_last=drop_last)


def resized(loader: DataLoader[Any], batch_size: int) -> DataLoader[Any]:
    """The same loader with another batch size.

    Raises:
        EvaluationError: If it makes them by a sampler of batches, which has a size of its own.
    """
    if loader.batch_size is None:
        msg = "`batch_size` is tuned, and the DataLoader of the training data makes its batches by itself."
        raise EvaluationError(f"{msg} Give it a batch_size, or give the dataset alone.")
    iterable = isinstance(loader.dataset, IterableDataset)
    return DataLoader(
        loader.dataset,
        batch_size,
        sampler=None if iterable else loader.sampler,
        **{name: getattr(loader, name) for name in _OF_LOADERS},
    )


def reseed(loader: Any, seed: int) -> None:
    """Set a loader's order to that of a seed, if it has a generator or a sampler that can be seeded.

    The global generator is left alone: the model draws from it, too.
    """
    batch_sampler = getattr(loader, "batch_sampler", None)
    samplers = (loader.sampler, batch_sampler, getattr(batch_sampler, "sampler", None))
    for holder in (loader, *samplers):
        generator = getattr(holder, "generator", None)
        if generator is not None and generator is not torch.default_generator:
            generator.manual_seed(seed)
    for sampler in samplers:
        getattr(sampler, "set_epoch", lambda _: None)(seed)


def valid_batches(source: Any, batch_size: int) -> Iterator[Any]:
    """The batches of a validation set, in its own order, which is the same each time."""
    if isinstance(source, DataLoader):
        reseed(source, 0)
        return iter(source)
    if type(source) is TensorDataset:
        parts = zip(*(tensor.split(batch_size) for tensor in source.tensors), strict=True)
        return ([tensor.clone() for tensor in batch] for batch in parts)  # a model may change its input in place
    return iter(DataLoader(source, batch_size))


def split_batch(batch: Any, device: Any) -> tuple[tuple[Any, ...], Any]:
    """A batch as inputs and targets on the device: the last entry is the targets; a lone entry is both."""
    items = [batch] if isinstance(batch, torch.Tensor) else batch
    if not isinstance(items, (list, tuple)):
        msg = f"A batch must be a list (inputs ..., targets). Got {type(batch).__name__}; dicts need `train`."
        raise EvaluationError(msg)
    if device.type != "cpu":
        items = [_moved(item, device) for item in items]
    return (tuple(items), items[0]) if len(items) == 1 else (tuple(items[:-1]), items[-1])


def _moved(item: Any, device: Any) -> Any:
    if isinstance(item, (torch.Tensor, PackedSequence)):
        return item.to(device, non_blocking=True)
    if isinstance(item, Mapping):
        return {key: _moved(value, device) for key, value in item.items()}
    if isinstance(item, (list, tuple)):
        moved = [_moved(value, device) for value in item]
        return type(item)(*moved) if hasattr(item, "_fields") else type(item)(moved)
    return item


def rows_of(targets: Any) -> int:
    """The number of rows of a batch, whose targets may be tensors in dicts, tuples and lists."""
    while isinstance(targets, (Mapping, list, tuple)):
        targets = next(iter(targets.values() if isinstance(targets, Mapping) else targets))
    return len(targets)
