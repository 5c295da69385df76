"""The application: the page, its files and the API, behind the gate."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from cxrsearch.errors import CxrsearchError, ImageError, RequestError, UsageError
from cxrsearch.query.index import Index
from cxrsearch.report import style
from cxrsearch.web._assets import PAGE, SIGN_IN, load_assets
from cxrsearch.web._gate import COOKIE, FAULT, Gate, refusal, same_token
from cxrsearch.web._routes import api
from cxrsearch.web._service import Service
from cxrsearch.web._upload import read_small
from cxrsearch.web.settings import Settings


def make_app(index: Index, settings: Settings) -> Gate:
    """Make the application of one index.

    Args:
        index: an open index.
        settings: where it will listen, and its limits.
    """
    service = Service(index, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.close()

    app = FastAPI(
        title="cxrsearch",
        description=f"Search a collection of chest X-rays by image. {style.DISCLAIMER}.",
        openapi_url="/api/openapi.json",
        docs_url=None,  # its page loads scripts from another site
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    app.state.assets = load_assets()
    app.add_api_route("/", _page, include_in_schema=False)
    app.add_api_route("/token", _sign_in, methods=["POST"], include_in_schema=False)
    app.add_api_route("/static/{name}", _file, include_in_schema=False)
    app.add_api_route("/health", _health, summary="Whether the server answers")
    app.include_router(api)
    app.add_exception_handler(CxrsearchError, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_address)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _fault)
    return Gate(app, settings)


async def _health() -> JSONResponse:
    """Answer that the server runs. It needs no token and waits for nothing."""
    return JSONResponse({"status": "ok"})


async def _page(request: Request) -> Response:
    """The page, or the form that asks for the token. A link with the token sets the cookie and leads to the page."""
    candidate = request.query_params.get("token")
    if candidate is not None and _token(request) is not None:
        return _set_cookie(request, candidate)
    unknown = bool(request.scope.get("cxrsearch.unknown"))
    asset = request.app.state.assets[SIGN_IN if unknown else PAGE]
    return Response(asset.content, 401 if unknown else 200, media_type=asset.media_type)


async def _sign_in(request: Request) -> Response:
    """Answer the form that asks for the token."""
    body = await read_small(request)
    return _set_cookie(request, parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0])


def _set_cookie(request: Request, candidate: str) -> Response:
    """Redirect to the page, so that the token leaves the address. Set the cookie if the token is right."""
    response = RedirectResponse("/", 303)
    token = _token(request)
    if token is not None and same_token(candidate, token):
        response.set_cookie(COOKIE, token, httponly=True, samesite="strict", path="/")
    return response


def _token(request: Request) -> str | None:
    service: Service = request.app.state.service
    return service.settings.token


async def _file(request: Request, name: str) -> Response:
    asset = request.app.state.assets.get(name)
    if asset is None:
        return refusal(404, "no such file of the page")
    return Response(asset.content, media_type=asset.media_type)


async def _refuse(_: Request, error: Exception) -> Response:
    """Answer an error of the library with its message and a matching status."""
    if isinstance(error, RequestError):
        status = error.status
    else:
        status = 400 if isinstance(error, UsageError) else 422 if isinstance(error, ImageError) else 500
    return refusal(status, str(error))


async def _fault(_: Request, __: Exception) -> Response:
    return refusal(500, FAULT)


async def _refuse_address(_: Request, __: Exception) -> Response:
    return refusal(400, "a part of the address is not a whole number")


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return refusal(error.status_code, str(error.detail).lower())
