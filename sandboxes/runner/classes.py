"""Classes of the session by value: what cloudpickle leaves out of them, and making them without running code of theirs.

Changes cloudpickle's module, of which the runner has a copy of its own.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HEAP_TYPE = 1 << 9
"""In `type.__flags__`: made by Python code, not written in C."""
_CACHED = ("__slotnames__",)
"""Left in a class by copying and pickling its objects."""


def hold_classes_whole(cloud: Any) -> None:
    # Classes are told apart by the pickle that they are in. An identity drawn by chance would make every snapshot of an
    # unchanged class a new content.
    cloud._get_or_create_tracker_id = lambda definition: None
    cloud._extract_class_dict = _attributes_of
    cloud._make_skeleton_class = make_class
    arguments_of_class, arguments_of_enum = cloud._class_getnewargs, cloud._enum_getnewargs
    state_of_enum = cloud._enum_getstate

    def with_layout(kind: Any) -> Any:
        meta, name, _, namespace, *rest = arguments_of_class(kind)
        namespace["__qualname__"] = kind.__qualname__
        for attribute in ("__slots__", "__orig_bases__"):
            if attribute in kind.__dict__:
                namespace[attribute] = kind.__dict__[attribute]
        return (meta, name, kind.__bases__, namespace, *rest)

    def with_aliases(kind: Any) -> Any:
        bases, name, qualname, _, *rest = arguments_of_enum(kind)
        return (bases, name, qualname, {each: kind[each].value for each in kind.__members__}, *rest)

    def without_members(kind: Any) -> Any:
        attributes, slots = state_of_enum(kind)
        return ({name: value for name, value in attributes.items() if name not in kind.__members__}, slots)

    cloud._enum_getstate = without_members
    cloud._class_getnewargs, cloud._enum_getnewargs = with_layout, with_aliases


def _attributes_of(kind: Any) -> dict[str, Any]:
    """All that the class itself has, also what is the same in its base. New texts for names keep pickles alike."""
    listed = kind.__dict__.get("__slots__", ())
    function_type = type(_attributes_of)
    names = (listed,) if isinstance(listed, str) else tuple(listed)
    descriptor = type(function_type.__dict__["__globals__"])
    return {
        "".join(name): kind.__dict__[name]
        for name in sorted(kind.__dict__)
        if name not in _CACHED and (name in names or type(kind.__dict__[name]) is not descriptor)
    }


def make_class(meta: Any, name: str, bases: Any, namespace: dict[str, Any], *_: object) -> Any:
    """A class without its attributes, which follow. Runs no `__new__` of a metaclass written in Python, and no
    `__init_subclass__` of the session's: they have run when the class was defined."""
    import abc
    import types

    bases = types.resolve_bases(bases)  # snapshots of earlier releases name those that the source named
    made_by = next(each for each in meta.__mro__ if each is abc.ABCMeta or not each.__flags__ & HEAP_TYPE)
    hooks = [
        (each, each.__dict__["__init_subclass__"])
        for base in bases
        for each in base.__mro__
        if each.__module__ == "__main__" and "__init_subclass__" in each.__dict__
    ]
    hooks = list({id(each): (each, hook) for each, hook in hooks}.values())
    for each, _hook in hooks:
        type.__delattr__(each, "__init_subclass__")
    try:
        return made_by.__new__(meta, name, bases, namespace)
    finally:
        for each, hook in hooks:
            type.__setattr__(each, "__init_subclass__", hook)
