"""Sources of data: each module turns one kind of URL or list into objects to fetch.

It writes nothing.
"""

from __future__ import annotations
