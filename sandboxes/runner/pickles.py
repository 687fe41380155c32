"""Pickles of snapshots: long texts by hash, buffers apart, the namespace live; and what objects they met on the way."""

from __future__ import annotations

import sys

from sandboxes.runner.byvalue import cloud, reduce_function, reduce_view
from sandboxes.runner.reducers import Unholdable, reduce_error, reducers
from sandboxes.runner.tracking import names_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

LEAF_CHARS = 32 * 1024
PICKLE_BLOCK_BYTES = 256 * 1024
_ATOMS = (str, bytes, int, float, complex, bool, type(None), range, type(Ellipsis), type(NotImplemented))
_SHARED_FREELY = frozenset(
    (
        *("numpy.dtypes", "re", "datetime", "decimal", "fractions", "uuid", "pathlib", "zoneinfo", "typing", "signal"),
        *("pandas._libs.missing", "pandas._libs.tslibs.nattype", "pandas._libs.tslibs.timestamps"),
        *("pandas._libs.tslibs.timedeltas", "pandas._libs.tslibs.offsets", "pandas.core.dtypes.dtypes"),
    )
)
"""Modules of immutable values: two variables that hold the same one share nothing that can change."""
_UNCHANGING_BUILTINS = ("slice", "code", "method_descriptor", "wrapper_descriptor", "getset_descriptor")
_MUTABLE_BUILTINS = (list, dict, set, bytearray)


class Leaves:
    """Hashes of long texts, made once for each object; the objects are kept, so that their addresses stay theirs."""

    def __init__(self, known: dict[str, Any], put: Callable[[bytes], str]) -> None:
        self._put = put
        self._of: dict[int, tuple[Any, str]] = {id(value): (value, sha256) for sha256, value in known.items()}

    def of(self, value: Any) -> str:
        found = self._of.get(id(value))
        if found is None:
            data = value.encode("utf-8", "surrogatepass") if type(value) is str else value
            found = self._of[id(value)] = (value, self._put(data))
        return found[1]


class Pickled:
    """One pickle: its stream, its out-of-band buffers, hashes of its leaves, what it met."""

    def __init__(
        self, stream: bytes, buffers: list[Any], leaves: list[str], met: dict[int, Any], reach: set[str]
    ) -> None:
        self.stream = stream
        self.buffers = buffers
        self.leaves = leaves
        self.met = met
        self.reach = reach

    @property
    def size_bytes(self) -> int:
        return len(self.stream) + sum(len(buffer) for buffer in self.buffers)


def make_pickling(values: dict[str, Any], leaves: Leaves, loaders: Any) -> Callable[[dict[str, Any]], Pickled]:
    """A function that pickles variables together. It raises whatever their code raises."""
    import io
    import pickle
    import re
    import types

    module = cloud()
    numpy = sys.modules.get("numpy")
    array_type = numpy.__dict__.get("ndarray") if numpy is not None else None
    table = value_table(module, loaders)
    interface = {type(getattr(values.get(name), "__self__", None)) for name in ("llm_query", "FINAL")}

    def is_by_name(function: Any) -> bool:
        return function.__globals__ is not values and bool(module._should_pickle_by_reference(function))

    class Pickler(module.Pickler):  # type: ignore[misc,name-defined,unused-ignore]
        dispatch_table = table

        def __init__(self, file: Any, buffers: list[Any]) -> None:
            super().__init__(file, protocol=5, buffer_callback=buffers.append)
            self.met: dict[int, Any] = {}
            self.reach: set[str] = set()
            self.leaves: dict[str, None] = {}

        def persistent_id(self, value: Any) -> Any:
            kind = type(value)
            if kind is str or kind is bytes:
                if len(value) < LEAF_CHARS:
                    return None
                sha256 = leaves.of(value)
                self.leaves[sha256] = None
                return ("t" if kind is str else "b", sha256)
            if kind in _ATOMS or kind is tuple or kind is frozenset:
                return None
            if value is values:
                return ("ns",)
            if kind in _MUTABLE_BUILTINS or _is_shared(value, kind, types, is_by_name):
                self.met[id(value)] = value
            return None

        def reducer_override(self, value: Any) -> Any:
            kind = type(value)
            if kind is types.FunctionType and not is_by_name(value):
                if value.__globals__ is values:
                    names_in(value.__code__, self.reach)
                return reduce_function(value, values, loaders, self._dynamic_function_reduce)
            if kind is types.CellType:
                return (loaders.empty_cell, ())
            if kind is types.MethodType and type(value.__self__) in interface:
                return (loaders.interface, (value.__name__,))
            if kind is re.Match:
                return (loaders.make_match, (value.re, value.string, value.pos, value.endpos, value.span()))
            if array_type is not None and kind is array_type and type(value.base) is array_type:
                found = reduce_view(value, numpy, loaders)
                if found is not None:
                    return found
            if issubclass(kind, BaseException):
                found = reduce_error(value, loaders)
                if found is not None:
                    return found
            return super().reducer_override(value)

    def pickled(variables: dict[str, Any]) -> Pickled:
        file, buffers = io.BytesIO(), []  # type: ignore[var-annotated]
        pickler = Pickler(file, buffers)
        pickler.dump(variables)
        pickler.met.pop(id(variables), None)
        raw = [buffer.raw() for buffer in buffers]
        return Pickled(file.getvalue(), raw, list(pickler.leaves), pickler.met, pickler.reach)

    pickled.fails_with = pickle.PicklingError  # type: ignore[attr-defined]
    return pickled


def value_table(cloud_module: Any, loaders: Any) -> Any:
    """Reducers by exact type: ours, cloudpickle's, those that libraries registered."""
    import collections

    return collections.ChainMap(reducers(cloud_module, loaders), cloud_module.Pickler.dispatch_table)


def _is_shared(value: Any, kind: type, types: Any, is_by_name: Callable[[Any], bool]) -> bool:
    """Whether two variables that hold this very object share something that can change."""
    if kind in (types.ModuleType, types.BuiltinFunctionType, types.CodeType, types.MappingProxyType, types.CellType):
        return kind is types.CellType
    module = kind.__dict__.get("__module__", "builtins") if kind.__flags__ & (1 << 9) else kind.__module__
    if kind is types.FunctionType:
        return not is_by_name(value)
    if isinstance(value, type):
        return bool(value.__flags__ & (1 << 9)) and value.__module__ == "__main__"
    if module == "builtins":
        return kind.__name__ not in _UNCHANGING_BUILTINS
    return module not in _SHARED_FREELY or kind.__name__ == "TypeVar"


def make_unpickling(values: dict[str, Any], leaf: Callable[[str, str], Any]) -> Callable[[bytes, list[Any]], Any]:
    """A function that loads a pickle of these. `leaf` gives a long text by its kind and hash."""
    import io
    import pickle

    cloud()

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, said: Any) -> Any:
            return values if said[0] == "ns" else leaf(said[0], said[1])

    def unpickled(stream: bytes, buffers: list[Any]) -> Any:
        return Unpickler(io.BytesIO(stream), buffers=buffers).load()

    return unpickled


def said(error: Exception) -> str:
    """What an error of code of the session says of itself."""
    try:
        return str(error) if type(error) is Unholdable else f"{type(error).__name__}: {error}"
    except Exception:
        return "an error whose message cannot be made"
