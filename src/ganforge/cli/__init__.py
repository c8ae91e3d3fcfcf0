"""The command line: thin over the public API. The verbs import what they need when called,
so that `ganforge --help` is quick."""

from __future__ import annotations

import errno
import sys

from ganforge.errors import Lost, UserError

_ROOM, _RIGHTS = "make room and try again", "choose another place, or make it writable"
_REMEDIES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EACCES: _RIGHTS,
    errno.EROFS: _RIGHTS,
    errno.ENOENT: "make the folder, or check the path",
    errno.ENOTDIR: "a file is in the way: check the path",
    errno.EISDIR: "a folder is in the way: check the path",
}
"""What a disk can refuse that is no fault of the program, and what to do."""


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
        remedy = _REMEDIES.get(e.errno or 0)
        if remedy is None:
            raise
        where = f"{e.filename}: " if e.filename else ""
        print(f"error: {one_line(where)}{e.strerror}; {remedy}", file=sys.stderr)
        sys.exit(2)
