"""Attributes that few objects of a large table have, so that the others need no memory for them. Pure."""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar, overload

T = TypeVar("T")
RareT = TypeVar("RareT", bound="Rare[Any]")


class HasRareValues(Protocol):
    """
    An object with rare attributes.

    :ivar rare: Their values by name, without those that are the default; None if there are none.
    """

    rare: dict[str, Any] | None


class Rare(Generic[T]):
    """
    Attribute that has its default for nearly all objects of a class.

    A slot takes 8 bytes in each object. A rare attribute takes about 200, but only in the objects with another value
    than the default.

    :param default: The default.
    """

    __slots__ = ("_default", "_name")

    def __init__(self, default: T) -> None:
        self._default = default
        self._name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self: RareT, instance: None, owner: type) -> RareT: ...
    @overload
    def __get__(self, instance: HasRareValues, owner: type) -> T: ...
    def __get__(self: RareT, instance: HasRareValues | None, owner: type) -> Any:
        if instance is None:
            return self
        rare = instance.rare
        return self._default if rare is None else rare.get(self._name, self._default)

    def __set__(self, instance: HasRareValues, value: T) -> None:
        rare = instance.rare
        if value != self._default:
            if rare is None:
                instance.rare = {self._name: value}
            else:
                rare[self._name] = value
        elif rare is not None:
            rare.pop(self._name, None)
            if not rare:
                instance.rare = None
