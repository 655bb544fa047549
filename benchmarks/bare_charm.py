"""A charm that does nothing: what ops itself costs in a hook."""

from __future__ import annotations

import ops

if __name__ == "__main__":
    ops.main(ops.CharmBase)
