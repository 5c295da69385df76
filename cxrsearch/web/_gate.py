"""The gate before every request: it checks the host, origin and token, adds security headers, and writes the log.

A line of the log has the method, the route as the code writes it, the status and the time. It never has ids, file
names, query strings or tags, because an id can identify a patient.
"""

import hmac
import logging
import time
import traceback
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cxrsearch.web.settings import Settings, names_this_server

log = logging.getLogger("cxrsearch.web")

COOKIE: Final = "cxrsearch_token"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
FAULT: Final = "the server failed: this is a fault of the program"
_OPEN: Final = ("/health", "/token", "/static/")
"""Paths that need no token; they reveal nothing about an index."""


class Gate:
    """The outermost ASGI application: it refuses requests, or passes them on to `app`.

    Args:
        app: the application behind the gate.
        settings: the server's host and token.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; every exception becomes a plain answer with status 500."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        try:
            await (self._refusal(scope) or self._app)(scope, receive, send_guarded)
        except Exception as error:  # a bug: its text may name a patient, so only its place is logged
            place = traceback.extract_tb(error.__traceback__)[-1]
            log.error("%s at %s:%s", type(error).__name__, place.name, place.lineno)
            if not status:
                await refusal(500, FAULT)(scope, receive, send_guarded)
        log.info("%s %s %d %.0f ms", scope["method"], _route(scope), status, 1000 * (time.perf_counter() - started))

    def _refusal(self, scope: Scope) -> Response | None:
        """The refusal of a request, or None if it may pass."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not host or not names_this_server(host, self._settings):
            return refusal(421, "this server does not go by the name in the Host header")
        if _from_elsewhere(headers, host):
            return refusal(403, "a request from another site")
        if scope["path"].startswith(_OPEN) or self.knows_token(headers):
            return None
        if scope["path"] == "/":  # the page then shows the form that asks for the token
            scope["cxrsearch.unknown"] = True
            return None
        return refusal(401, "the token is missing or wrong: send it as `Authorization: Bearer TOKEN`")

    def knows_token(self, headers: Headers) -> bool:
        """Whether a request has the token, as a bearer token or in the page's cookie."""
        if self._settings.token is None:
            return True
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        candidates = [bearer.strip()] if kind.lower() == "bearer" else []
        return any(same_token(text, self._settings.token) for text in [*candidates, _cookie(headers)])


def same_token(candidate: str, token: str) -> bool:
    """Compare two tokens in constant time, so that the time reveals nothing about the token."""
    return hmac.compare_digest(candidate.encode("utf-8", "surrogateescape"), token.encode())


def refusal(status: int, problem: str) -> JSONResponse:
    """An answer with an error status, and the reason as JSON."""
    return JSONResponse({"error": problem}, status)


def _cookie(headers: Headers) -> str:
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return cookie.value if cookie else ""


def _from_elsewhere(headers: Headers, host: str) -> bool:
    """Whether a page of another site sent the request. Browsers say so. Following a link is harmless, so it may pass.

    A form of our own page has the origin `null`, because its policy is `no-referrer`. Then `Sec-Fetch-Site`, which no
    page can set, says that its site is ours.
    """
    site = headers.get("sec-fetch-site", "none")
    if site == "same-origin":
        return False
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        return True
    return site != "none" and headers.get("sec-fetch-mode") != "navigate"


def _route(scope: Scope) -> str:
    """The path of the route with the names of its parameters, and nothing from the request itself."""
    return str(getattr(scope.get("route"), "path", "(no route)"))
