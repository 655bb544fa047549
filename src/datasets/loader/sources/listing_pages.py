"""Tell a listing of very many entries from pages without end."""

from __future__ import annotations

# A page has up to 1,000 entries, and some services' pages have fewer, or none now and then.
FREE_PAGES, LEAST_ENTRIES_OF_A_PAGE = 1000, 10
MOST_ENTRIES = 20_000_000


class ListingPages:
    """A counter of the pages of one listing, and of their entries."""

    def __init__(self) -> None:
        self._pages = self._entries = 0

    def add(self, entries: int) -> bool:
        """Count a page; return False if no service of that kind has such a listing."""
        self._pages += 1
        self._entries += entries
        sparse = self._pages > FREE_PAGES + self._entries // LEAST_ENTRIES_OF_A_PAGE
        return not sparse and self._entries <= MOST_ENTRIES
