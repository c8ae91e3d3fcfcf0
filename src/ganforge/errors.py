"""The errors a user can cause, and the one that other processes can."""


class UserError(ValueError):
    """A mistake of the user's: what was given, what was expected, what to do.

    The command line prints its message on one line and exits with 2; Python callers
    get it as a `ValueError`. Bugs of ours are `assert`s and ordinary exceptions.
    """


class Lacking(UserError):
    """This machine lacks something: room on a disk, a right, a package. It says nothing about
    the data that were being read, so nothing is concluded about them."""


class Lost(RuntimeError):
    """Another process of this run has ended without a word: killed, or its host is gone. The
    command line prints its message on one line and exits with 1."""
