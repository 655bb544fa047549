"""The only code that touches the volume: by descriptors, since others write on it, too.

A path is looked up anew by each call, and whoever may write in one of its directories may lead
it elsewhere between two calls. A descriptor stays with what it was opened for.
"""

from __future__ import annotations
