"""`python -m docs.generator`: write the generated reference pages anew."""

from __future__ import annotations

from docs.generator import pages


def main() -> None:
    """Write each page to its place."""
    for path, text in pages.all_pages().items():
        (pages.ROOT / path).write_text(text)


if __name__ == "__main__":
    main()
