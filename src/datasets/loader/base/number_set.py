"""A compact set of numbers: one bit for each, since there may be millions."""

from __future__ import annotations


class NumberSet:
    """A set of numbers that are not negative."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def add(self, number: int) -> None:
        """Add a number."""
        byte, bit = divmod(number, 8)
        self._bytes.extend(bytes(max(0, byte + 1 - len(self._bytes))))
        self._bytes[byte] |= 1 << bit

    def __contains__(self, number: int) -> bool:
        byte, bit = divmod(number, 8)
        return byte < len(self._bytes) and bool(self._bytes[byte] >> bit & 1)
