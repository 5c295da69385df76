"""What stands before every request: whose it is, whether it may come in, what its answer must carry, one line of log.

The log has the method, the route as it is written in the code, the status and the time. Ids, names of files, query
strings and tags never come near it: an id can be a patient's.
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

from cxrsearch.web.settings import Settings, is_meant

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
"""What needs no token: nothing of an index is in it."""


class Gate:
    """The outermost application."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0

        async def guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        try:
            await (self._refusal(scope) or self._app)(scope, receive, guarded)
        except Exception as error:  # a fault of the program: its text may hold anything, so only its place is logged
            place = traceback.extract_tb(error.__traceback__)[-1]
            log.error("%s at %s:%s", type(error).__name__, place.name, place.lineno)
            if not status:
                await refusal(500, FAULT)(scope, receive, guarded)
        log.info("%s %s %d %.0f ms", scope["method"], _route(scope), status, 1000 * (time.perf_counter() - started))

    def _refusal(self, scope: Scope) -> Response | None:
        """Why a request does not come in, if so."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not host or not is_meant(host, self._settings):
            return refusal(421, "this server does not go by the name in the Host header")
        if _from_elsewhere(headers, host):
            return refusal(403, "a request from another site")
        if scope["path"].startswith(_OPEN) or self.knows_token(headers):
            return None
        if scope["path"] == "/":  # which then asks for it
            scope["cxrsearch.unknown"] = True
            return None
        return refusal(401, "the token is missing or wrong: send it as `Authorization: Bearer TOKEN`")

    def knows_token(self, headers: Headers) -> bool:
        """Whether a request brings the token, as a bearer or in the cookie of the page."""
        if self._settings.token is None:
            return True
        kind, _, given = headers.get("authorization", "").partition(" ")
        candidates = [given.strip()] if kind.lower() == "bearer" else []
        return any(same_token(text, self._settings.token) for text in [*candidates, _cookie(headers)])


def same_token(given: str, token: str) -> bool:
    """Compare in a time that tells nothing."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode())


def refusal(status: int, problem: str) -> JSONResponse:
    """An answer that says no, and why."""
    return JSONResponse({"error": problem}, status)


def _cookie(headers: Headers) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


def _from_elsewhere(headers: Headers, host: str) -> bool:
    """Whether another site's page sent it: browsers say so, and a link somebody follows is no harm.

    A form of our own page has the origin `null`, since its policy is `no-referrer`; that its site is ours is then said
    by `Sec-Fetch-Site`, which no page can set.
    """
    site = headers.get("sec-fetch-site", "none")
    if site == "same-origin":
        return False
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        return True
    return site != "none" and headers.get("sec-fetch-mode") != "navigate"


def _route(scope: Scope) -> str:
    """The path of the route, with its parameters' names; nothing that came from outside."""
    return str(getattr(scope.get("route"), "path", "(no route)"))
