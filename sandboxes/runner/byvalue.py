"""Pickling by value what plain pickle cannot: functions and classes of the REPL, matches, views of arrays.

On top of cloudpickle (its source travels in the runner and is loaded under a name of its own when first needed). What a
pickle calls to be loaded lives in the module `rlm_byvalue`, made here, so that it is found in every REPL.
"""

from __future__ import annotations

import sys

from sandboxes.runner.classes import hold_classes_whole, make_class
from sandboxes.runner.reducers import VALUE_LOADERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CLOUDPICKLE_SOURCE = ""
"""zlib and base 85; set where the runner is one file. Without it the installed package is used."""
LOADER_MODULE = "rlm_byvalue"
CLOUDPICKLE_MODULE = "rlm_cloudpickle"
NOT_HELD = "this variable is not in the snapshot: "


class NotHeld:
    """Stands for a variable that a snapshot could not hold. Whatever is done with it says so."""

    def __init__(self, name: str, kind: str, reason: str) -> None:
        object.__setattr__(self, "_facts", (name, kind, reason))

    def __getattribute__(self, attribute: str) -> Any:
        if attribute in ("__class__", "__reduce_ex__", "__reduce__"):
            return object.__getattribute__(self, attribute)
        name, kind, reason = object.__getattribute__(self, "_facts")
        raise RuntimeError(f"{NOT_HELD}{name} ({kind}) could not be saved: {reason}")

    def _refuse(self, *_: object) -> Any:
        name, kind, reason = object.__getattribute__(self, "_facts")
        raise RuntimeError(f"{NOT_HELD}{name} ({kind}) could not be saved: {reason}")

    __call__ = __len__ = __iter__ = __next__ = __getitem__ = __setitem__ = __delitem__ = __contains__ = _refuse
    __bool__ = __add__ = __radd__ = __sub__ = __mul__ = __enter__ = __exit__ = __int__ = __float__ = _refuse
    __eq__ = __lt__ = __gt__ = __le__ = __ge__ = __setattr__ = __delattr__ = __repr__ = __str__ = _refuse
    __hash__ = _refuse


def facts_of(value: NotHeld) -> tuple[str, str, str]:
    """(name, type, reason) of what a snapshot could not hold."""
    facts: tuple[str, str, str] = object.__getattribute__(value, "_facts")
    return facts


def cloud() -> Any:
    """The module of cloudpickle, loaded once."""
    module: Any = sys.modules.get(CLOUDPICKLE_MODULE)
    if module is None:
        source, name = _cloudpickle_source()
        module = type(sys)(CLOUDPICKLE_MODULE)
        sys.modules[CLOUDPICKLE_MODULE] = module
        exec(compile(source, name, "exec", dont_inherit=True), module.__dict__)  # nosec B102  # in the sandbox
        hold_classes_whole(module)
    return module


def _cloudpickle_source() -> tuple[str, str]:
    if CLOUDPICKLE_SOURCE:
        import base64
        import zlib

        return zlib.decompress(base64.b85decode(CLOUDPICKLE_SOURCE)).decode(), "<cloudpickle>"
    import importlib.util

    found = importlib.util.find_spec("cloudpickle.cloudpickle")
    assert found is not None
    assert found.origin is not None
    with open(found.origin, encoding="utf-8") as stream:
        return stream.read(), "<cloudpickle>"


def install_loaders(values: dict[str, Any]) -> Any:
    """The module with what pickles call; functions made by it live in the namespace `values`."""
    import types

    module: Any = types.ModuleType(LOADER_MODULE)
    sys.modules[LOADER_MODULE] = module

    def empty_function(code: Any, name: str, closure: Any) -> Any:
        return types.FunctionType(code, values, name, None, closure)

    def interface(name: str) -> Any:
        return values[name]

    loaders = (
        *(empty_function, empty_cell, fill_function, function_of_module, fill_foreign),
        *(make_match, make_view, interface, make_not_held),
        *(make_class, *VALUE_LOADERS),
    )
    for loader in loaders:
        loader.__module__ = LOADER_MODULE
        loader.__qualname__ = loader.__name__
        setattr(module, loader.__name__, loader)
    return module


def empty_cell() -> Any:
    """A cell of a closure; the functions that share it fill it."""
    import types

    return types.CellType()


def fill_function(function: Any, state: dict[str, Any]) -> None:
    function.__defaults__ = state["defaults"]
    function.__kwdefaults__ = state["kwdefaults"]
    function.__qualname__ = state["qualname"]
    function.__module__ = state["module"]
    function.__doc__ = state["doc"]
    function.__annotations__ = state["annotations"]
    function.__dict__.update(state["dict"])
    for cell, content in zip(function.__closure__ or (), state["cells"]):  # noqa: B905  # Python 3.9
        if content:
            cell.cell_contents = content[0]


def function_of_module(code: Any, name: str, closure: Any, module: str) -> Any:
    """A function that code of a library made: it reads the variables of its library."""
    import importlib
    import types

    return types.FunctionType(code, importlib.import_module(module).__dict__, name, None, closure)


def fill_foreign(function: Any, state: Any) -> None:
    """For a function that belongs to no module: what cloudpickle says of it, and what the cells hold."""
    said, cells = state
    cloud()._function_setstate(function, said)
    for cell, content in zip(function.__closure__ or (), cells):  # noqa: B905  # Python 3.9
        if content:
            cell.cell_contents = content[0]


def make_match(pattern: Any, text: Any, start: int, end: int, span: tuple[int, int]) -> Any:
    """The match of `pattern` at `span`: sought where it began, so that it is found at once."""
    found = pattern.match(text, span[0], end)
    return found if found is not None and found.span() == span else pattern.search(text, start, end)


def make_view(base: Any, kind: Any, shape: Any, offset: int, strides: Any, writeable: bool) -> Any:
    import numpy  # type: ignore[import-not-found,unused-ignore]

    view = numpy.ndarray(shape, kind, base.data if base.flags.writeable else base, offset, strides)
    view.flags.writeable = writeable and base.flags.writeable
    return view


def make_not_held(name: str, kind: str, reason: str) -> NotHeld:
    return NotHeld(name, kind, reason)


def reduce_function(function: Any, values: dict[str, Any], loaders: Any, foreign: Any) -> tuple[Any, ...]:
    """A function that no module has under its name: its code, and a state that is filled in afterwards, so that it may
    refer to itself. `foreign` is cloudpickle's way, for one whose globals are no module's."""
    closure = function.__closure__
    made = None if closure is None else tuple(closure)
    cells = [() if _is_empty(cell) else (cell.cell_contents,) for cell in closure or ()]
    new: tuple[Any, ...] = (loaders.empty_function, (function.__code__, function.__name__, made))
    if function.__globals__ is not values:
        module = function.__globals__.get("__name__")
        if type(module) is not str or getattr(sys.modules.get(module), "__dict__", None) is not function.__globals__:
            make, arguments, (attributes, said), *_ = foreign(function)
            said["__closure__"] = None  # its cells are those of the arguments, which others may share
            return (make, (*arguments[:4], made), ((attributes, said), cells), None, None, loaders.fill_foreign)
        new = (loaders.function_of_module, (*new[1], module))
    state = {
        "defaults": function.__defaults__,
        "kwdefaults": function.__kwdefaults__,
        "qualname": function.__qualname__,
        "module": function.__module__,
        "doc": function.__doc__,
        "annotations": function.__annotations__,
        "dict": function.__dict__,
        "cells": cells,
    }
    return (*new, state, None, None, loaders.fill_function)


def _is_empty(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return True
    return False


def reduce_view(array: Any, numpy: Any, loaders: Any) -> tuple[Any, ...] | None:
    """An array that shows another array's memory, as a view of that one; None when it is to be copied."""
    base = array.base
    while type(base) is numpy.ndarray and type(base.base) is numpy.ndarray:
        base = base.base
    if type(base) is not numpy.ndarray or base.dtype.hasobject or array.dtype.hasobject:
        return None
    if base.base is not None or not (base.flags.c_contiguous or base.flags.f_contiguous):
        return None
    offset = array.__array_interface__["data"][0] - base.__array_interface__["data"][0]
    if not base.flags.c_contiguous or not 0 <= offset <= base.nbytes:
        return None
    arguments = (base, array.dtype, array.shape, offset, array.strides, bool(array.flags.writeable))
    return (loaders.make_view, arguments)
