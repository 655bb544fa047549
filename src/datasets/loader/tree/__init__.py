"""The tree of files of one data set: created, written and removed, many files at once.

It knows no archive and no origin.
"""

from __future__ import annotations
