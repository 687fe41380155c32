"""A variable as a file of the workspace, in a format that other programs read."""

from __future__ import annotations

from typing import Any


def _rlmweb_export(value: Any, form: str, path: str, max_bytes: int) -> None:
    """Write `value` to `path` as `json`, `csv`, `npy`, `parquet` or `raw`; print `{"bytes"}` or `{"error"}` as JSON.

    What a format cannot hold is an error that says why; nothing is left out or made up.
    """
    import json
    import os
    from builtins import (
        AttributeError,
        BaseException,
        ImportError,
        OSError,
        TypeError,
        ValueError,
        all,
        bytearray,
        bytes,
    )
    from builtins import (
        dict,
        frozenset,
        getattr,
        hasattr,
        isinstance,
        len,
        list,
        map,
        memoryview,
        open,
        range,
    )
    from builtins import repr, set, slice, sorted, str, tuple, type
    from collections import deque

    # The code may have changed its working folder; the workspace is its home.
    target = os.path.join(os.environ.get("HOME", ""), path)

    class Refused(ValueError):
        pass

    class Bounded:
        """A file that ends the writing when it gets too large."""

        def __init__(self) -> None:
            self.file, self.size_bytes = open(target, "wb"), 0

        def write(self, data: Any) -> int:
            data = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
            self.size_bytes += len(data)
            if self.size_bytes > max_bytes:
                raise Refused("it is larger than " + str(max_bytes) + " bytes, which is the most for a download")
            self.file.write(data)
            return len(data)

    def package_of(each: Any) -> str:
        return str(getattr(type(each), "__module__", "")).partition(".")[0]

    def is_frame(each: Any) -> bool:
        return package_of(each) == "pandas" and type(each).__name__ in ("DataFrame", "Series")

    def missing(package: str) -> Refused:
        return Refused(
            "this format needs the package " + package + ", which this sandbox does not have. "
            "Choose another format, or have sandboxes run a Python that has it (RLMWEB_SANDBOX_PYTHON)"
        )

    # JSON: what is not JSON by itself becomes it where nothing is lost but the type.

    def jsonable(each: Any) -> Any:
        if isinstance(each, deque):
            return list(each)
        if isinstance(each, (set, frozenset)):
            return sorted(each, key=repr)
        if package_of(each) == "numpy" and hasattr(each, "tolist"):
            return each.tolist()
        if is_frame(each):
            # By pandas, which knows how to write its own times and missing values.
            return json.loads(each.to_json(orient="records" if type(each).__name__ == "DataFrame" else "index"))
        if hasattr(each, "isoformat"):
            return each.isoformat()
        fields = getattr(type(each), "__dataclass_fields__", None)
        if fields is not None:
            return {name: getattr(each, name) for name in fields}
        raise Refused("it holds an object of type " + type(each).__name__ + ", which JSON cannot say")

    def write_json(out: Any) -> None:
        encoder = json.JSONEncoder(default=jsonable, ensure_ascii=False, allow_nan=False, indent=1)
        try:
            for part in encoder.iterencode(value):
                out.write(part)
        except (TypeError, ValueError) as error:
            raise error if isinstance(error, Refused) else Refused("JSON cannot say it: " + str(error)) from None

    # CSV: rows of mappings, rows of sequences, a mapping of columns, a frame, an array of one or two dimensions.

    def sequence() -> Any:
        if package_of(value) == "numpy" and hasattr(value, "tolist"):
            if value.ndim not in (1, 2):
                raise Refused("CSV needs one or two dimensions; this array has " + str(value.ndim))
            return value.tolist()
        if isinstance(value, (list, tuple, deque)):
            return list(value)
        if isinstance(value, (set, frozenset)):
            return sorted(value, key=repr)
        raise Refused("CSV needs a list of rows, a mapping or a frame; this is of type " + type(value).__name__)

    def rows() -> Any:
        if isinstance(value, dict):
            columns = list(value.values())
            if columns and all(isinstance(each, (list, tuple)) and len(each) == len(columns[0]) for each in columns):
                return [list(value), *([each[n] for each in columns] for n in range(len(columns[0])))]
            return [["key", "value"], *map(list, value.items())]
        found = sequence()
        if found and all(isinstance(each, dict) for each in found):
            names = list({name: 0 for row in found for name in row})
            return [names, *([row.get(name, "") for name in names] for row in found)]
        return [list(each) if isinstance(each, (list, tuple)) else [each] for each in found]

    def write_csv(out: Any) -> None:
        import csv

        if is_frame(value):
            # Row numbers that pandas made up are no data.
            numbered = type(value.index).__name__ == "RangeIndex" and type(value).__name__ == "DataFrame"
            value.to_csv(out.file, index=not numbered)
            return
        lines = csv.writer(out)
        for row in rows():
            lines.writerow(row)

    def write_npy(out: Any) -> None:
        try:
            import numpy
        except ImportError:
            raise missing("numpy") from None
        try:
            found = numpy.asarray(value.to_numpy() if is_frame(value) else value)
        except ValueError as error:
            raise Refused("it is no array: " + str(error)) from None
        if found.dtype.hasobject:
            raise Refused("an array of Python objects cannot be saved as .npy without pickle; choose JSON or CSV")
        numpy.save(out.file, found, allow_pickle=False)

    def write_parquet(out: Any) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise missing("pyarrow") from None
        try:
            if is_frame(value):
                found = pyarrow.Table.from_pandas(value if type(value).__name__ == "DataFrame" else value.to_frame())
            elif isinstance(value, dict):
                found = pyarrow.table(value)
            else:
                found = value if package_of(value) == "pyarrow" else pyarrow.Table.from_pylist(list(value))
            pyarrow.parquet.write_table(found, out.file)
        except (pyarrow.ArrowException, AttributeError, TypeError) as error:
            raise Refused("Parquet needs a frame, a list of mappings or a mapping of columns: " + str(error)) from None

    def write_raw(out: Any) -> None:
        if isinstance(value, str):
            for start in range(0, len(value), 1 << 20):
                out.write(str.__getitem__(value, slice(start, start + (1 << 20))))
        elif isinstance(value, (bytes, bytearray, memoryview)):
            out.write(bytes(value))
        else:
            import pprint

            out.write(pprint.pformat(value, width=120) + "\n")

    ways = {"json": write_json, "csv": write_csv, "npy": write_npy, "parquet": write_parquet, "raw": write_raw}
    said: Any = {}
    try:
        out = Bounded()
        try:
            ways[form](out)
        finally:
            out.file.close()
        said["bytes"] = os.stat(target).st_size
    except Refused as error:
        said["error"] = str(error)[:500]
    except OSError as error:
        said["error"] = "the file could not be written in the sandbox: " + str(error)[:500]
    except BaseException as error:
        said["error"] = type(error).__name__ + ": " + str(error)[:500]
    data = json.dumps(said).encode() + b"\n"
    while data:
        data = data[os.write(1, data) :]
