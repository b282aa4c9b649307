"""Pickles what another process cannot import: lambdas, and functions and classes of a script or a notebook."""

from __future__ import annotations

import io
from collections import ChainMap
from types import CodeType
from typing import Any, ClassVar

__all__ = ["pickle_by_value"]


def pickle_by_value(content: object) -> bytes:
    """Pickle with cloudpickle: functions and classes by value, unless they can be imported from a module.

    The functions keep the name of their file, which tracebacks and ``inspect.getsource`` need; cloudpickle itself drops
    it from version 3.1.3 on. cloudpickle must be installed. ``pickle.loads`` reads the result.

    Args:
        content: What to pickle.

    Raises:
        Exception: Whatever the content raises if it cannot be pickled.
    """
    import cloudpickle

    table = cloudpickle.Pickler.dispatch_table

    def reduce_code(code: CodeType) -> tuple[Any, ...]:
        return _code, (code.co_filename, *table[CodeType](code))

    class Pickler(cloudpickle.Pickler):
        dispatch_table: ClassVar = ChainMap({CodeType: reduce_code}, table)

    file = io.BytesIO()
    Pickler(file).dump(content)
    return file.getvalue()


def _code(filename: str, make: Any, arguments: tuple[Any, ...]) -> CodeType:
    code: CodeType = make(*arguments)
    return code.replace(co_filename=filename)
