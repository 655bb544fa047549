"""Run the loader from its package; the zipapp has its own line for this."""

from __future__ import annotations

from . import program

program.run()
