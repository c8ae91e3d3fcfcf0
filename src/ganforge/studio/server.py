"""The studio's server: pages, run data and live feeds. It reads run folders and leaves
requests in them; it holds no connection to a training."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any, Literal

import uvicorn
from anyio import to_thread
from fastapi import FastAPI, Request, Response
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import FileResponse, StreamingResponse

from ganforge import __version__
from ganforge.errors import UserError
from ganforge.studio import compared, problems
from ganforge.studio.actions import Actions
from ganforge.studio.explore import Explorer, Point, Wanted
from ganforge.studio.guard import Guard, is_loopback
from ganforge.studio.library import Library
from ganforge.studio.live import Feeds

STATIC = Path(__file__).parent / "static"
PAGES = ("/", "/run/{key}", "/explore/{key}", "/explore", "/lab", "/compare", "/compare/{key}")
DEFAULT_PORT = 8765
LOW_PRIORITY = 10


class Strict(BaseModel):
    """A request's body: what is not known is refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Asked(Strict):
    kind: Literal["stop", "save", "rate"]
    value: float | None = Field(None, gt=0, le=10)


class Resumed(Strict):
    minutes: float | None = Field(None, gt=0, le=1e6)
    steps: int | None = Field(None, gt=0, le=10**12)


@cache
def lab() -> Any:
    """The lab; it brings torch along, so it is made when first asked for."""
    from ganforge.studio.lab import Lab

    return Lab()


class Opening(Strict):
    checkpoint: int | Literal["latest", "best"] = "latest"


class Directed(Strict):
    step: int
    label: int | None = None


class Neighbourly(Strict):
    step: int
    point: Point


def create_app(
    folder: str | Path,
    *,
    host: str = "127.0.0.1",
    token: str | None = None,
    hosts: tuple[str, ...] = (),
) -> Guard:
    """The studio as an ASGI application.

    Args:
        folder: the folder that holds the runs, or one run.
        host: the address it will listen on.
        token: what every request must carry; needed unless `host` is the loopback.
        hosts: further names under which people reach it (a proxy's).

    Raises:
        UserError: `folder` is not a folder; an open address without a token.
    """
    if not is_loopback(host) and not token:
        raise UserError(f"listening on {host} needs a token; call serve(), which makes one")
    library = Library(folder)
    feeds, actions, explorer = Feeds(library), Actions(library), Explorer(library)
    app = FastAPI(
        title="ganforge studio",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    problems.install(app)
    app.state.feeds, app.state.explorer = feeds, explorer

    async def page() -> Response:
        return FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})

    for path in PAGES:
        app.add_api_route(path, page, methods=["GET", "HEAD"], include_in_schema=False)

    @app.get("/api/session")
    async def session(request: Request) -> dict[str, Any]:
        """What a page must know before it can act."""
        return {"version": __version__, "action": request.state.action, "folder": library.root.name}

    @app.get("/api/runs")
    def runs() -> dict[str, Any]:
        return {"runs": library.summaries(), "folder": library.root.name}

    @app.get("/api/live")
    async def live_list() -> Response:
        return stream(feeds.list().follow())

    @app.get("/api/runs/{key}")
    def run(key: str) -> dict[str, Any]:
        entry = library.entry(key)
        return entry.summary() | {"config": entry.config, "samples": entry.samples()}

    @app.get("/api/runs/{key}/live")
    async def live_run(key: str) -> Response:
        watcher = await to_thread.run_sync(feeds.run, key)
        return stream(watcher.follow())

    @app.get("/api/runs/{key}/series")
    def series(
        key: str, points: int = 1200, low: float | None = None, high: float | None = None
    ) -> dict[str, Any]:
        """The curves between two steps, as finely as `points` allow."""
        ledger = library.ledger(key)
        ledger.update()
        return {"series": ledger.series(min(max(points, 10), 5000), low, high)}

    @app.get("/api/runs/{key}/history")
    def history(key: str) -> dict[str, Any]:
        """What a comparison needs of a run: its configuration, scores and curves."""
        entry, ledger = library.entry(key), library.ledger(key)
        ledger.update()
        return {
            "config": entry.config,
            "scores": ledger.notes["score"],
            "series": ledger.series(400),
        }

    @app.get("/api/runs/{key}/samples/{step}.png")
    def sample(key: str, step: int, v: int = 0) -> Response:
        return png(library.entry(key).sample(step), v)

    @app.get("/api/runs/{key}/sounds")
    def sounds(key: str) -> dict[str, Any]:
        """The sounds that the run has kept, as `playable` gives them."""
        return {"sounds": library.entry(key).sounds()}

    @app.get("/api/runs/{key}/thumbs/{step}.png")
    def thumb(key: str, step: int, v: int = 0) -> Response:
        return png(library.thumbnail(key, step, v), v)

    @app.post("/api/runs/{key}/request", status_code=202)
    def request(key: str, asked: Asked) -> dict[str, Any]:
        actions.request(key, asked.kind, asked.value)
        return {"asked": asked.kind}

    @app.post("/api/runs/{key}/resume", status_code=202)
    def resume(key: str, asked: Resumed) -> dict[str, Any]:
        return {"pid": actions.resume(key, asked.minutes, asked.steps)}

    @app.post("/api/explore/{key}/open")
    def explore_open(key: str, asked: Opening) -> dict[str, Any]:
        return explorer.open(key, asked.checkpoint)

    @app.post("/api/explore/{key}/make")
    def explore_make(key: str, wanted: Wanted) -> Response:
        began = time.perf_counter()
        data, kind = explorer.make(key, wanted)
        spent = f"make;dur={1000 * (time.perf_counter() - began):.1f}"
        return Response(data, media_type=kind, headers={"server-timing": spent})

    @app.post("/api/explore/{key}/hear")
    def explore_hear(key: str, wanted: Wanted) -> dict[str, Any]:
        return explorer.hear(key, wanted)

    @app.post("/api/explore/{key}/directions")
    def explore_directions(key: str, asked: Directed) -> dict[str, Any]:
        return explorer.directions(key, asked.step, asked.label)

    @app.post("/api/explore/{key}/neighbours")
    def explore_neighbours(key: str, asked: Neighbourly) -> dict[str, Any]:
        return explorer.neighbours(key, asked.step, asked.point)

    @app.post("/api/upload/{key}")
    async def upload(key: str, step: int, request: Request, damage: bool = False) -> dict[str, Any]:
        """A picture file as the body; see `ganforge.studio.repair`."""
        data = await request.body()
        return await to_thread.run_sync(explorer.repair, key, step, data, damage)

    @app.get("/api/comparisons")
    def comparisons() -> dict[str, Any]:
        return {"comparisons": compared.listed(library)}

    @app.get("/api/comparisons/{key}")
    def comparison(key: str) -> dict[str, Any]:
        return compared.compared(library, key)

    @app.get("/api/comparisons/{key}/{file}.png")
    def comparison_shot(key: str, file: str) -> Response:
        return png(compared.shot(library, key, file))

    @app.post("/api/lab")
    def lab_open(body: dict[str, Any]) -> dict[str, Any]:
        return lab().open(body)

    @app.post("/api/lab/{session}")
    def lab_play(session: str, body: dict[str, Any]) -> dict[str, Any]:
        return lab().play(session, body)

    app.mount("/static", Static(directory=STATIC), name="static")
    return Guard(app, (host, *hosts), token, any_address=host in ("0.0.0.0", "::"))


class Static(StaticFiles):
    """The pages' files, asked for again each time and answered by "not modified"."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        answer = super().file_response(*args, **kwargs)
        answer.headers["cache-control"] = "no-cache"
        return answer


def stream(messages: Any) -> Response:
    return StreamingResponse(
        messages, media_type="text/event-stream", headers={"cache-control": "no-store"}
    )


def png(data: bytes, version: int = 0) -> Response:
    """A picture. Under a version it never changes, and the browser may keep it."""
    keep = "private, max-age=86400, immutable" if version else "no-store"
    return Response(data, media_type="image/png", headers={"cache-control": keep})


class Server(uvicorn.Server):
    """A server that ends its feeds before it waits for its connections to end."""

    def __init__(self, app: Guard) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_level="warning",
                server_header=False,
                timeout_graceful_shutdown=2,
                ws="none",
            )
        )
        self.feeds: Feeds = app.app.state.feeds
        self.explorer: Explorer = app.app.state.explorer

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.feeds.close()
        self.explorer.repairs.close()
        await super().shutdown(sockets)


def serve(
    folder: str | Path = "runs",
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    token: str | None = None,
) -> None:
    """Run the studio until it is interrupted, at low priority: trainings come first.

    Args:
        folder: the folder that holds the runs, or one run.
        host: the address to listen on; any but the loopback needs the printed token.
        port: the port; 0 takes any free one.
        token: one's own token; made and printed once if needed and not given.

    Raises:
        UserError: `folder` is not a folder, or the port is taken.
    """
    if not is_loopback(host):
        token = token or secrets.token_urlsafe(24)
    app = create_app(folder, host=host, token=token)
    listening = listen(host, port)
    name = f"[{host}]" if ":" in host else host
    if host in ("0.0.0.0", "::"):
        name = socket.gethostname()
    url = f"http://{name}:{listening.getsockname()[1]}/" + (f"?token={token}" if token else "")
    with contextlib.suppress(OSError):
        os.nice(LOW_PRIORITY)
    print(f"ganforge studio: {url}", file=sys.stderr, flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        Server(app).run(sockets=[listening])


def listen(host: str, port: int) -> socket.socket:
    """A listening socket: who connects from now on is answered as soon as the server runs."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # By its protocol asyncio knows TCP and sends at once; else every answer waits 40 ms for
        # the acknowledgement of its own headers.
        listening = socket.socket(found[0], found[1], socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(found[4])
        listening.listen(128)
    except (OSError, OverflowError) as e:
        why = getattr(e, "strerror", None) or e
        raise UserError(f"cannot listen on {host}:{port}: {why}; choose another --port") from None
    return listening
