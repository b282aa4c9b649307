"""The device: its choice, mixed precision, freeing memory, and recognising out-of-memory errors."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from hpt_core import EvaluationError

if TYPE_CHECKING:
    import weakref

__all__ = ["autocast_of", "device_mistake", "free_memory", "out_of_memory", "pick_device", "scaler_of", "settled"]

_OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "not enough memory", "cannot allocate memory")


def pick_device(name: str) -> Any:
    """The device of that name; ``auto`` is the first there is of CUDA, MPS and the CPU.

    Several local workers share several CUDA devices evenly, by the number that each has in ``HPT_WORKER``.
    """
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        worker = os.environ.get("HPT_WORKER")
        return torch.device("cuda" if worker is None else f"cuda:{int(worker) % torch.cuda.device_count()}")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def device_mistake(name: str) -> str | None:
    """What is wrong with a device's name on this machine."""
    if name == "auto":
        return None
    try:
        device = torch.device(name)
    except RuntimeError:
        return f"Must be 'auto', 'cpu', 'mps', 'cuda' or 'cuda:1'. Got {name!r}."
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        return f"This machine has {torch.cuda.device_count()} CUDA devices. Got {name!r}."
    if device.type == "mps" and not torch.backends.mps.is_available():
        return f"This machine has no MPS device. Got {name!r}."
    return None


def autocast_of(device: Any, *, amp: bool) -> Callable[[], Any]:
    """Makes contexts for mixed precision in the device's own half type; does nothing where it has none."""
    if not amp or not torch.amp.is_autocast_available(device.type):
        return contextlib.nullcontext
    return functools.partial(torch.autocast, device.type)


def scaler_of(device: Any, *, amp: bool) -> Any:
    """The gradient scaler that half precision needs; a disabled one elsewhere."""
    half = amp and device.type == "cuda" and torch.get_autocast_dtype("cuda") is torch.float16
    return torch.amp.GradScaler(device.type, enabled=half)


@contextlib.contextmanager
def settled(threads: int | None) -> Iterator[None]:
    """Context with the given number of CPU threads and the deterministic kernels of cuDNN."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark, torch.get_num_threads()
    cudnn.deterministic, cudnn.benchmark = True, False
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before[:2]
        if threads is not None:
            torch.set_num_threads(before[2])


def free_memory(device: Any, model: weakref.ReferenceType[Any] | None) -> None:
    """Free a trial's memory.

    Args:
        device: Where it was.
        model: If something still holds it (a cycle), the garbage is collected, which takes long; else there is none.
            While an exception is being handled, its frames hold the model, so collecting would have no effect.
    """
    if model is not None and model() is not None and sys.exc_info()[1] is None:
        gc.collect()
    if device.type != "cpu":
        torch.get_device_module(device).empty_cache()


def out_of_memory(err: Exception) -> EvaluationError | None:
    """Recognise an out-of-memory error.

    Returns:
        A failure of kind ``out-of-memory`` that holds the traceback as text, so that no frame keeps tensors alive; None
        for any other exception.
    """
    text = str(err)
    says_so = isinstance(err, RuntimeError) and any(words in text.lower() for words in _OUT_OF_MEMORY)
    if not says_so and not isinstance(err, (MemoryError, torch.OutOfMemoryError)):
        return None
    detail = "".join(traceback.format_exception(err))
    first = text.splitlines()[0] if text else "no memory left"
    return EvaluationError(f"{type(err).__name__}: {first}", kind="out-of-memory", detail=detail)
