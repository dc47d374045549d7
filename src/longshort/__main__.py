"""The command `longshort`, also as `python -m longshort`."""

import sys


def run() -> int:
    """Run the command line; an interruption while it is still being loaded is no traceback either."""
    try:
        from .cli import main
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted. Nothing was left half-written.\n")
        return 130
    return main()


if __name__ == "__main__":
    sys.exit(run())
