"""The routes: each reads its request, asks the service, and writes its answer."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from cxrsearch.errors import RequestError
from cxrsearch.web._openapi import ANSWER, answers, parameters, upload
from cxrsearch.web._query_parameters import FILTERS, filters_of, options_of, require_known, whole
from cxrsearch.web._service import Service
from cxrsearch.web._upload import read_upload

api = APIRouter(prefix="/api")
_MOST_BROWSED = 96
_FIRST = {"type": "integer", "minimum": 0, "default": 0, "description": "How many images to pass over."}
_LIMIT = {"type": "integer", "minimum": 0, "maximum": _MOST_BROWSED, "default": 24, "description": "Images wanted."}
_ROW = {"type": "integer", "minimum": 0, "description": "The row of an indexed image."}
_PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}, "description": "A PNG image."}}


def _service(request: Request) -> Service:
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


Served = Annotated[Service, Depends(_service)]


@api.get("/index", summary="What the index is")
async def index(service: Served) -> JSONResponse:
    """Its size, findings and encoder, and what can be done with it."""
    return JSONResponse(service.views.of_index())


@api.get("/map", summary="The embedding map")
async def embedding_map(service: Served) -> JSONResponse:
    """Up to 2,000 images on the first two principal components."""
    return JSONResponse(service.map)


@api.get(
    "/images", summary="Browse the index", openapi_extra=parameters(filters_only=True, offset=_FIRST, limit=_LIMIT)
)
async def images(request: Request, service: Served) -> JSONResponse:
    """Indexed images that the filters let through, or those with the id `id`."""
    given = {name: text for name, text in request.query_params.items() if text}
    require_known(given, {**FILTERS, "id": None, "offset": None, "limit": None})
    if "id" in given:
        return JSONResponse(service.named(given["id"]))
    offset = whole(given.get("offset", "0"), "offset", len(service.index))
    limit = whole(given.get("limit", "24"), "limit", _MOST_BROWSED)
    return JSONResponse(service.browse(filters_of(given), offset, limit))


@api.post("/query", summary="Ask for an image", openapi_extra=upload(), responses=answers(ANSWER))
async def query(request: Request, service: Served) -> JSONResponse:
    """The same JSON as `cxrsearch query --json`: neighbours, votes, predictions, typicality. Nothing is kept."""
    async with service.admitted():
        sent = await read_upload(request, service.settings)
        return JSONResponse((await service.answer(sent, options_of(sent.fields))).to_json())


@api.post("/look", summary="Ask for an image, as the page does", openapi_extra=upload())
async def look(request: Request, service: Served) -> JSONResponse:
    """The answer, with what the page needs to show it: pictures, heat maps, places on the map."""
    async with service.admitted():
        sent = await read_upload(request, service.settings)
        return JSONResponse(await service.look(sent, options_of(sent.fields)))


@api.post("/sheet", summary="The contact sheet of an image", openapi_extra=upload(), responses=_PNG)
async def sheet(request: Request, service: Served) -> Response:
    """The image and its neighbours as one PNG, as `cxrsearch query --sheet` writes it."""
    async with service.admitted():
        sent = await read_upload(request, service.settings)
        answer = await service.answer(sent, options_of(sent.fields))
        return Response(await service.sheet(answer), media_type="image/png")


@api.post("/similarity", summary="Why an image and a neighbour are near", openapi_extra=upload(row=_ROW))
async def similarity(request: Request, service: Served) -> JSONResponse:
    """Two maps whose means are the inner product of the embeddings."""
    async with service.admitted():
        sent = await read_upload(request, service.settings)
        require_known(sent.fields, {"row": None})
        row = whole(sent.fields.get("row", ""), "row", len(service.index) - 1)
        return JSONResponse(await service.similarity(sent, row))


@api.get(
    "/images/{row}/query", summary="Ask for an indexed image", openapi_extra=parameters(), responses=answers(ANSWER)
)
async def query_row(request: Request, row: int, service: Served) -> JSONResponse:
    """The same JSON as `/api/query`, for an indexed image by its row."""
    async with service.admitted():
        return JSONResponse((await service.answer_row(row, options_of(request.query_params))).to_json())


@api.get("/images/{row}/look", summary="Ask for an indexed image, as the page does", openapi_extra=parameters())
async def look_row(request: Request, row: int, service: Served) -> JSONResponse:
    """The answer, with what the page needs to show it."""
    async with service.admitted():
        return JSONResponse(await service.look_row(row, options_of(request.query_params)))


@api.get(
    "/images/{row}/sheet", summary="The contact sheet of an indexed image", openapi_extra=parameters(), responses=_PNG
)
async def sheet_row(request: Request, row: int, service: Served) -> Response:
    """The image and its neighbours as one PNG."""
    async with service.admitted():
        answer = await service.answer_row(row, options_of(request.query_params))
        return Response(await service.sheet(answer), media_type="image/png")


@api.get("/images/{row}/similarity/{other}", summary="Why two indexed images are near")
async def similarity_row(row: int, other: int, service: Served) -> JSONResponse:
    """Two maps whose means are the inner product of the embeddings."""
    async with service.admitted():
        return JSONResponse(await service.similarity_row(row, other))


@api.get("/images/{row}/pixels", summary="An indexed image as the index keeps it", responses=_PNG)
async def pixels(row: int, service: Served) -> Response:
    """Its stored pixels, a square."""
    return Response(service.picture(row), media_type="image/png")


@api.get("/images/{row}/original", summary="An indexed image's own file", responses=_PNG)
async def original(row: int, service: Served) -> Response:
    """Decoded, its longer side at most 1,536 pixels; 404, with the reason, where it is not to be had."""
    async with service.admitted():
        return Response((await service.original(row)).png, media_type="image/png")


@api.api_route("/{rest:path}", methods=["GET", "POST"], include_in_schema=False)
async def nothing(rest: str) -> None:
    """No such route."""
    raise RequestError(404, "no such address below /api", "see /api/openapi.json")
