"""The studio: watch runs learn, steer them, walk through their latent space, in a browser.

It reads run folders and writes nothing but requests into them; the training process never
knows that somebody watches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganforge.studio.server import create_app, serve

__all__ = ["create_app", "serve"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from ganforge.studio import server

        return getattr(server, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
