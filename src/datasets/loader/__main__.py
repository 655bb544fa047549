"""Run the loader from its package; the zipapp has a line of its own that does the same."""

from __future__ import annotations

from . import program

program.run()
