"""Write the generated reference pages: `python -m docs.generator`."""

from __future__ import annotations

from docs.generator import pages


def main() -> None:
    """Write all generated pages."""
    for path, text in pages.all_pages().items():
        (pages.ROOT / path).write_text(text)


if __name__ == "__main__":
    main()
