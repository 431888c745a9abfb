# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Writes answers through the ctypes arguments of an entry point."""

import ctypes
from typing import Any

from mig_placement.simulator import codes

_memmove = ctypes.memmove


def number(argument: Any) -> int:
    """The value of an int or of a ctypes integer.

    :raises Refused: INVALID_ARGUMENT, it is neither.
    """
    if type(argument) is int:
        return argument
    value = getattr(argument, "value", None)
    if not isinstance(value, int):
        raise codes.Refused(codes.INVALID_ARGUMENT)
    return value


def target(reference: Any) -> Any:
    """The object behind byref(...) or pointer(...).

    :raises Refused: INVALID_ARGUMENT, it is a NULL pointer.
    """
    try:
        return reference._obj
    except AttributeError:
        if not reference:
            raise codes.Refused(codes.INVALID_ARGUMENT) from None
    return reference.contents


def put_number(reference: Any, value: int) -> None:
    """Store through a pointer to an integer."""
    target(reference).value = value


def put(reference: Any, raw: bytes) -> None:
    """Copy to where a pointer or an array is.

    :raises Refused: INVALID_ARGUMENT, it is a NULL pointer.
    """
    if reference is None:
        raise codes.Refused(codes.INVALID_ARGUMENT)
    _memmove(_pointer(reference), raw, len(raw))


def _pointer(reference: Any) -> Any:
    # The real library would write to any address it is given.
    if isinstance(reference, int):
        raise TypeError("an int where NVML takes a pointer: use byref()")
    return reference


def put_text(buffer: Any, length: Any, text: str) -> int:
    """Store a C string into a buffer of ``length`` bytes.

    :returns: SUCCESS or INSUFFICIENT_SIZE.
    """
    raw = text.encode() + b"\0"
    if len(raw) > number(length):
        return codes.INSUFFICIENT_SIZE
    put(buffer, raw)
    return codes.SUCCESS


def put_array(array: Any, count: Any, raw: bytes, size: int) -> int:
    """Store elements of ``size`` bytes each, and how many there are.

    :returns: SUCCESS; INSUFFICIENT_SIZE where the real library would write
        past the end of the array.
    """
    if raw:
        if ctypes.sizeof(getattr(array, "_obj", array)) < len(raw):
            return codes.INSUFFICIENT_SIZE
        put(array, raw)
    put_number(count, len(raw) // size)
    return codes.SUCCESS


def text(argument: Any) -> str:
    """The string of a c_char_p.

    :raises Refused: INVALID_ARGUMENT, it is NULL.
    """
    value = argument if isinstance(argument, bytes) else argument.value
    if value is None:
        raise codes.Refused(codes.INVALID_ARGUMENT)
    return bytes(value).decode(errors="replace")


def placement(reference: Any) -> tuple[int, int]:
    """(start, size) of a placement structure given by reference.

    :raises Refused: INVALID_ARGUMENT, it is a NULL pointer.
    """
    # nvidia-ml-py hands a structure through as it is given.
    item = reference
    if not hasattr(item, "start"):
        item = target(reference)
    return int(item.start), int(item.size)
