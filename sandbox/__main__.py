"""`python -m sandbox build|demo|serve`: what the Makefile calls."""

from __future__ import annotations

import argparse
import logging
import sys

from sandbox.kubernetes import program_build


def main() -> int:
    """Run one of the commands; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    parser.add_argument("command", choices=("build", "demo", "serve"))
    command = parser.parse_args().command
    # moto and the charm's libraries say much that a reader of the story does not need.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        if command == "build":
            program_build.ensure(_say)
        elif command == "demo":
            from sandbox import demo

            demo.play()
        else:
            from sandbox import serve

            serve.run()
    except program_build.BuildError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
