"""`akidb-embed`: the whole command line."""

from __future__ import annotations

import signal
import sys

from ._native import command_line


def main() -> int:
    """Run the command line with the program's arguments, and give its exit status."""
    # Python only notes an interrupt, for when it goes on: it would come after the work.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return command_line(["akidb-embed", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
