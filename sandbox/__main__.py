"""Build the control plane, play the demo, or keep a sandbox running."""

from __future__ import annotations

import argparse
import logging
import sys

from sandbox.kubernetes import program_build


def main() -> int:
    """Run the command, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    parser.add_argument("command", choices=("build", "demo", "serve"))
    command = parser.parse_args().command
    # moto and the charm's libraries log details that would clutter the output.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        if command == "build":
            program_build.ensure(_print)
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


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
