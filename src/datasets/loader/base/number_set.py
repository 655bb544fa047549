"""A set of numbers in a bit each: there may be millions."""

from __future__ import annotations


class Bits:
    """A set of numbers from 0 on."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def add(self, number: int) -> None:
        """Takes a number in."""
        byte, bit = divmod(number, 8)
        self._bytes.extend(bytes(max(0, byte + 1 - len(self._bytes))))
        self._bytes[byte] |= 1 << bit

    def __contains__(self, number: int) -> bool:
        byte, bit = divmod(number, 8)
        return byte < len(self._bytes) and bool(self._bytes[byte] >> bit & 1)
