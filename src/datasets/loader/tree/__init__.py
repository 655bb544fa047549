"""The tree of files of one data set: many files are created, written or removed at once.

It knows nothing of archives and origins.
"""

from __future__ import annotations
