"""How values are pickled that plain pickle and cloudpickle refuse, copy apart or cannot load again.

Locks that nobody holds, weak references, caches of functions, generators that have not started, views of memory, errors.
Reducers are found by the exact type of a value; what a pickle calls to be loaded are the loaders below.
"""

from __future__ import annotations

import sys

from sandboxes.runner.classes import HEAP_TYPE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Unholdable(Exception):
    """A value that only means something while its process runs."""


def reducers(cloud: Any, loaders: Any) -> dict[type, Callable[[Any], Any]]:
    """By exact type. `cloud` is the module of cloudpickle."""
    import functools
    import gc
    import io
    import threading
    import types
    import typing
    import weakref

    def type_variable(value: Any) -> Any:
        make, arguments = cloud._typevar_reduce(value)
        if make is getattr:
            return (make, arguments)
        return (make, arguments, value.__module__, None, None, loaders.set_module)

    def reference(value: Any) -> Any:
        target = value()
        return (loaders.make_reference, () if target is None else (target,))

    def weak_mapping(value: Any) -> Any:
        return (type(value), (), None, None, iter(list(value.items())))

    def lock(value: Any) -> Any:
        if not repr(value).startswith("<unlocked"):
            raise Unholdable("a lock that is held cannot be saved: let go of it first")
        return (threading.RLock if type(value) is type(threading.RLock()) else threading.Lock, ())

    def cached(value: Any) -> Any:
        if cloud._lookup_module_and_qualname(value) is not None:
            return str(value.__qualname__)
        limits = value.cache_parameters()
        arguments = (value.__wrapped__, limits["maxsize"], limits["typed"])
        return (loaders.make_cached, arguments, value.__dict__, None, None, loaders.update_attributes)

    def proxy(value: Any) -> Any:
        return (types.MappingProxyType, (gc.get_referents(value)[0],))

    def open_file(value: Any) -> Any:
        for name in ("stdin", "stdout", "stderr"):
            if value is getattr(sys, name, None):
                return (getattr, (sys, name))
        raise Unholdable("an open file cannot be saved: open it where it is used, or close it")

    files = (io.TextIOWrapper, io.BufferedReader, io.BufferedWriter, io.BufferedRandom, io.FileIO)
    return {
        weakref.ref: reference,
        weakref.WeakKeyDictionary: weak_mapping,
        weakref.WeakValueDictionary: weak_mapping,
        type(threading.Lock()): lock,
        type(threading.RLock()): lock,
        functools._lru_cache_wrapper: cached,
        types.MappingProxyType: proxy,
        types.GeneratorType: lambda value: _unstarted(value, loaders),
        typing.TypeVar: type_variable,
        memoryview: lambda value: _view_of_memory(value, loaders),
        **dict.fromkeys(files, open_file),
    }


def _unstarted(value: Any, loaders: Any) -> Any:
    """A generator that has not begun is the call that made it."""
    import gc
    import inspect

    if inspect.getgeneratorstate(value) == inspect.GEN_CLOSED:
        return (loaders.make_ended, (value.__name__, value.__qualname__))
    code, function_type = value.gi_code, type(_unstarted)
    made_by = [each for each in gc.get_referents(value) if type(each) is function_type and each.__code__ is code]
    if inspect.getgeneratorstate(value) != inspect.GEN_CREATED or not made_by:
        raise Unholdable("a generator that has started cannot be saved: keep its results in a list")
    held, count = value.gi_frame.f_locals, code.co_argcount
    names = code.co_varnames
    only_named = {name: held[name] for name in names[count : count + code.co_kwonlyargcount]}
    at = count + code.co_kwonlyargcount
    arguments = [held[name] for name in names[:count]]
    if code.co_flags & inspect.CO_VARARGS:
        arguments += held[names[at]]
        at += 1
    if code.co_flags & inspect.CO_VARKEYWORDS:
        only_named.update(held[names[at]])
    return (loaders.make_generator, (made_by[0], arguments, only_named))


def _view_of_memory(value: Any, loaders: Any) -> Any:
    """A view of all of an object's memory, or of a part of bytes; others are refused."""
    base = value.obj
    if not value.c_contiguous or type(base) not in (bytes, bytearray):
        raise Unholdable("a view of this memory cannot be saved: keep the object that it shows")
    if value.nbytes == len(base):
        start = 0
    elif type(base) is bytes:
        base, start = bytes(value), 0
    elif value.readonly:
        raise Unholdable("a view of a part of this memory that cannot be written to cannot be saved")
    else:
        start = _address(value) - _address(memoryview(base))
    return (loaders.make_memory, (base, start, value.nbytes, value.format, list(value.shape), value.readonly))


def _address(view: Any) -> int:
    """Where the memory of a view that may be written to lies."""
    import ctypes

    return ctypes.addressof(ctypes.c_char.from_buffer(view)) if view.nbytes else 0


def reduce_error(error: BaseException, loaders: Any) -> Any:
    """An error of a class of the session, without calling its `__init__`, which may want other arguments than those the
    error keeps; and with the errors that it was raised from. None when the ordinary way does."""
    kind = type(error)
    chain = (error.__cause__, error.__context__, error.__suppress_context__)
    own = bool(kind.__flags__ & HEAP_TYPE) and kind.__module__ == "__main__"
    if not own and chain == (None, None, False):
        return None
    base = next(each for each in kind.__mro__ if not each.__flags__ & HEAP_TYPE)
    written = kind.__mro__[: kind.__mro__.index(base)]
    if any("__reduce__" in each.__dict__ or "__reduce_ex__" in each.__dict__ for each in written):
        return None  # it has a way of its own
    reduced: Any = error.__reduce__()
    _, arguments, *state = reduced
    attributes = state[0] if state else None
    return (loaders.make_error, (kind, arguments, own), (attributes, chain), None, None, loaders.fill_error)


# What pickles call -----------------------------------------------------------------------------------------------


def make_reference(*target: Any) -> Any:
    """A weak reference; without a target, one to what is gone."""
    import weakref

    class Gone:
        pass

    return weakref.ref(target[0] if target else Gone())


def make_cached(function: Any, maxsize: Any, typed: bool) -> Any:
    """A function with an empty cache."""
    import functools

    return functools.lru_cache(maxsize, typed)(function)


def update_attributes(value: Any, attributes: dict[str, Any]) -> None:
    value.__dict__.update(attributes)


def set_module(value: Any, module: str) -> None:
    value.__module__ = module


def make_generator(function: Any, arguments: list[Any], named: dict[str, Any]) -> Any:
    return function(*arguments, **named)


def make_ended(name: str, qualname: str) -> Any:
    """A generator that has nothing more to give."""
    nothing: list[Any] = []
    ended: Any = (each for each in nothing)
    ended.close()
    ended.__name__, ended.__qualname__ = name, qualname
    return ended


def make_memory(base: Any, start: int, size: int, form: str, shape: list[int], readonly: bool) -> Any:
    view: Any = memoryview(base)[start : start + size]
    view = view.cast(form, shape) if (form, shape) != ("B", [size]) else view
    return view.toreadonly() if readonly else view


def make_error(kind: Any, arguments: Any, own: bool) -> Any:
    if not own:
        return kind(*arguments)
    error = kind.__new__(kind, *arguments)
    built_in = next(each for each in kind.__mro__ if not each.__flags__ & HEAP_TYPE)
    built_in.__init__(error, *arguments)
    return error


def fill_error(error: Any, state: Any) -> None:
    attributes, (cause, context, suppressed) = state
    if attributes:
        BaseException.__setstate__(error, attributes)
    error.__cause__, error.__context__, error.__suppress_context__ = cause, context, suppressed


VALUE_LOADERS = (
    *(make_reference, make_cached, update_attributes, make_generator, make_ended),
    *(make_memory, make_error, fill_error, set_module),
)
