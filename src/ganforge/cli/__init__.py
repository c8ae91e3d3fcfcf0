"""The command line: thin over the public API. The verbs import what they need when called,
so that `ganforge --help` is quick."""

from __future__ import annotations

import errno
import sys

from ganforge.errors import Lost, UserError


def main() -> None:
    """Run a verb. Exit codes: 0 done, 1 failed, 2 the user's mistake, 130/143 stopped by a
    signal after saving."""
    from ganforge.cli.app import app
    from ganforge.cli.screen import one_line

    try:
        app()
    except UserError as e:
        print(f"error: {one_line(str(e))}", file=sys.stderr)
        sys.exit(2)
    except Lost as e:
        print(f"error: {one_line(str(e))}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as e:
        if e.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f"{e.filename} cannot be written: " if e.filename else ""
        print(f"error: {one_line(where)}{e.strerror}; make room and try again", file=sys.stderr)
        sys.exit(2)
