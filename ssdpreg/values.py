"""Frozen values of which many are made: messages, advertisements and events. Enumerations that are read often."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, TypeVar

__all__ = ["plain_members", "value"]

E = TypeVar("E", bound=Enum)

if TYPE_CHECKING:
    from dataclasses import dataclass as value
else:
    from dataclasses import dataclass

    def value(*, frozen, slots):
        """
        Make a dataclass that is frozen for the type checker, and not at run time.

        A dataclass that is frozen at run time sets each of its fields by a call of ``object.__setattr__``. That takes
        five times as long, and a new service makes seven values with 40 fields. Comparison and hash are the same.
        Registrations are frozen at run time, too, because backends of others receive them.

        :param frozen: Whether the values are frozen, so that they have a hash.
        :param slots: Whether the instances have slots in place of a dictionary.
        """
        return dataclass(slots=slots, unsafe_hash=frozen)


def plain_members(enumeration: type[E]) -> type[E]:
    """
    Make the members of an enumeration plain attributes of its class.

    Before Python 3.12, they are found by a property or by ``__getattr__``. That takes 80 ns, five times as long, and
    the reception of a new service reads about 20 members.
    """
    for name, member in enumeration.__members__.items():
        # The method of the class of enumerations permits no change of a member.
        type.__setattr__(enumeration, name, member)
    return enumeration
