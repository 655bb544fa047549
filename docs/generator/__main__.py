"""Write the generated reference pages: `python -m docs.generator`."""

from __future__ import annotations

from docs.generator import pages


def main() -> None:
    """Write all generated pages."""
    for path, render in pages.GENERATED.items():
        (pages.ROOT / path).write_text(render())


if __name__ == "__main__":
    main()
