"""Foundations that every room of the loader may use.

The task, its limits, failures, progress and reports; no network and no volume.
"""

from __future__ import annotations
