"""Who may ask for what. Everything is decided before a route is reached.

- Host: only names under which this server was started, so that a foreign name that
  resolves to this machine (DNS rebinding) gets nothing.
- Token: where the server listens beyond this machine, every request carries it: once in
  the printed address, from then on in a cookie that only this site is sent.
- Origin: a request that another site's page makes is refused, reading ones too.
- Actions (anything but GET and HEAD) carry the page's own token, which no other origin
  can read.
- Bodies are counted as they arrive.
- Every answer carries a content-security policy without inline code or foreign hosts.
"""

from __future__ import annotations

import ipaddress
import secrets
from urllib.parse import parse_qs, urlencode

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.types import Message, Receive, Scope, Send

from ganforge.studio.problems import Problem

COOKIE = "ganforge-studio"
ACTION = "x-ganforge-action"
MOST_JSON = 256 << 10
MOST_UPLOAD = 16 << 20
UPLOADS = "/api/upload/"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; font-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reachable from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_name(header: str) -> str:
    """The name in a Host header, without port and brackets."""
    if header.startswith("["):
        return header[1:].split("]")[0]
    return header.rsplit(":", 1)[0] if ":" in header else header


class Guard:
    """The rules above, around `app`.

    Args:
        hosts: names that a Host header may have, beside the loopback's.
        token: what every request must carry, or None.
        any_address: also accept any literal IP address as Host (a server that listens on
            all of them); a literal address cannot be rebound.
    """

    def __init__(
        self,
        app: FastAPI,
        hosts: tuple[str, ...] = (),
        token: str | None = None,
        any_address: bool = False,
    ) -> None:
        self.app, self.token, self.any_address = app, token, any_address
        self.hosts = {*LOOPBACK, *(h.lower() for h in hosts)}
        self.action = secrets.token_urlsafe(24)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":  # no websockets here
            return await send({"type": "websocket.close", "code": 1008})

        async def guarded(event: Message) -> None:
            if event["type"] == "http.response.start":
                headers = MutableHeaders(scope=event)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(event)

        try:
            answer = self._check(scope)
        except Problem as e:
            answer = e.response()
        if answer is not None:
            return await answer(scope, receive, guarded)
        scope.setdefault("state", {})["action"] = self.action
        most = MOST_UPLOAD if scope["path"].startswith(UPLOADS) else MOST_JSON
        started = False

        async def watched(event: Message) -> None:
            nonlocal started
            started = True
            await guarded(event)

        try:
            await self.app(scope, _counted(receive, most), watched)
        except Problem as e:
            if started:
                raise
            await e.response()(scope, receive, guarded)

    def _check(self, scope: Scope):
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        self._check_host(host_name(host).lower())
        redirect = self._check_token(scope)
        if redirect is not None:
            return redirect
        safe = scope["method"] in ("GET", "HEAD")
        origin = headers.get("origin")
        if origin is not None and origin.lower() != f"{scope['scheme']}://{host}".lower():
            raise Problem(403, "Foreign origin", f"{origin[:200]} may not use this studio")
        # A link from elsewhere may open a page; it may not read or do anything.
        site = headers.get("sec-fetch-site", "none")
        page = headers.get("sec-fetch-mode") == "navigate" and safe
        if site not in ("same-origin", "none") and not page:
            raise Problem(403, "Foreign origin", "this request was made by another site's page")
        if not safe:
            sent = headers.get(ACTION, "")
            if not secrets.compare_digest(sent.encode(), self.action.encode()):
                raise Problem(
                    403, "Action not allowed", "the page is out of date; reload it and try again"
                )
            length = headers.get("content-length", "0")
            most = MOST_UPLOAD if scope["path"].startswith(UPLOADS) else MOST_JSON
            if length.isdigit() and int(length) > most:
                raise too_large(most)
        return None

    def _check_host(self, name: str) -> None:
        if name in self.hosts:
            return
        if self.any_address:
            try:
                ipaddress.ip_address(name)
                return
            except ValueError:
                pass
        raise Problem(
            421,
            "Unknown host",
            "this studio goes by another name; use the printed address",
        )

    def _check_token(self, scope: Scope):
        if self.token is None:
            return None
        request = Request(scope)
        given = request.cookies.get(COOKIE) or ""
        bearer = request.headers.get("authorization", "")
        if bearer.lower().startswith("bearer "):
            given = bearer[7:]
        if self._is_token(given):
            return None
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if scope["method"] == "GET" and self._is_token(query.pop("token", [""])[0]):
            rest = urlencode(query, doseq=True)
            # A path that begins with two slashes would name another host.
            path = "/" + scope["path"].lstrip("/\\")
            answer = RedirectResponse(path + (f"?{rest}" if rest else ""), 303)
            answer.set_cookie(COOKIE, self.token, httponly=True, samesite="strict", path="/")
            return answer
        raise Problem(
            401,
            "Token needed",
            "open the address that 'ganforge studio' printed",
        )

    def _is_token(self, given: str) -> bool:
        assert self.token is not None
        return secrets.compare_digest(given.encode(), self.token.encode())


def too_large(most: int) -> Problem:
    return Problem(413, "Too large", f"at most {most >> 10} KiB are taken")


def _counted(receive: Receive, most: int) -> Receive:
    """The body's parts, until there are too many bytes."""
    total = 0

    async def counted() -> Message:
        nonlocal total
        event = await receive()
        total += len(event.get("body", b""))
        if total > most:
            raise too_large(most)
        return event

    return counted
