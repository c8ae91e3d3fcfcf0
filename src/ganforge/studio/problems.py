"""Answers to requests that cannot be met: problem details (RFC 9457), never a traceback."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.responses import Response

from ganforge.errors import UserError

log = logging.getLogger("ganforge.studio")


class Problem(HTTPException):
    """What went wrong, for the person at the page.

    Args:
        status: the HTTP status.
        title: what kind of problem it is, the same each time.
        detail: what was wrong with this request, and what to do.
    """

    def __init__(self, status: int, title: str, detail: str = "") -> None:
        super().__init__(status, detail)
        self.status, self.title, self.detail = status, title, detail

    def body(self) -> bytes:
        known = {"type": "about:blank", "title": self.title, "status": self.status}
        return json.dumps(known | ({"detail": self.detail} if self.detail else {})).encode()

    def response(self) -> Response:
        return Response(self.body(), self.status, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Turn every exception into a problem-details answer."""

    @app.exception_handler(Problem)
    async def _(_: Request, e: Problem) -> Response:
        return e.response()

    @app.exception_handler(UserError)
    async def _(_: Request, e: UserError) -> Response:
        return Problem(400, "Cannot be done", str(e)).response()

    @app.exception_handler(RequestValidationError)
    async def _(_: Request, e: RequestValidationError) -> Response:
        wrong = "; ".join(f"{'.'.join(map(str, w['loc'][1:]))}: {w['msg']}" for w in e.errors())
        return Problem(422, "Request not understood", wrong[:500]).response()

    @app.exception_handler(AnyHTTPException)
    async def _(_: Request, e: AnyHTTPException) -> Response:
        return Problem(e.status_code, HTTPStatus(e.status_code).phrase, "").response()

    @app.exception_handler(Exception)
    async def _(_: Request, e: Exception) -> Response:
        log.error("a request failed", exc_info=e)
        return Problem(
            500,
            "The studio failed",
            "this is a fault of the studio's; its terminal has the details",
        ).response()
