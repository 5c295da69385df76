"""The routes of the API: each reads its request, calls the service, and writes the answer."""

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
_FIRST = {"type": "integer", "minimum": 0, "default": 0, "description": "Number of images to skip."}
_LIMIT = {"type": "integer", "minimum": 0, "maximum": _MOST_BROWSED, "default": 24, "description": "Number of images."}
_ROW = {"type": "integer", "minimum": 0, "description": "The row of an indexed image."}
_PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}, "description": "A PNG image."}}


def _service(request: Request) -> Service:
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


Served = Annotated[Service, Depends(_service)]


@api.get("/index", summary="Describe the index")
async def index(service: Served) -> JSONResponse:
    """The size, findings and encoder of the index, and what it supports."""
    return JSONResponse(service.views.of_index())


@api.get("/map", summary="The embedding map")
async def embedding_map(service: Served) -> JSONResponse:
    """Up to 2,000 images, placed by the first two principal components."""
    return JSONResponse(service.map)


@api.get(
    "/images", summary="Browse the index", openapi_extra=parameters(filters_only=True, offset=_FIRST, limit=_LIMIT)
)
async def images(request: Request, service: Served) -> JSONResponse:
    """Indexed images that match the filters, or those with the id `id`."""
    fields = {name: text for name, text in request.query_params.items() if text}
    require_known(fields, {**FILTERS, "id": None, "offset": None, "limit": None})
    if "id" in fields:
        return JSONResponse(service.named(fields["id"]))
    offset = whole(fields.get("offset", "0"), "offset", len(service.index))
    limit = whole(fields.get("limit", "24"), "limit", _MOST_BROWSED)
    return JSONResponse(service.browse(filters_of(fields), offset, limit))


@api.post("/query", summary="Query with an image", openapi_extra=upload(), responses=answers(ANSWER))
async def query(request: Request, service: Served) -> JSONResponse:
    """The same JSON as `cxrsearch query --json`: neighbours, votes, predictions, typicality. Nothing is stored."""
    async with service.admitted():
        sent = await read_upload(request, service.settings)
        return JSONResponse((await service.answer(sent, options_of(sent.fields))).to_json())


@api.post("/look", summary="Query with an image, as the page does", openapi_extra=upload())
async def look(request: Request, service: Served) -> JSONResponse:
    """The answer with everything that the page shows: pictures, heat maps, places on the embedding map."""
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
    """Two heat maps; the mean of either is the inner product of the embeddings."""
    async with service.admitted():
        sent = await read_upload(request, service.settings)
        require_known(sent.fields, {"row": None})
        row = whole(sent.fields.get("row", ""), "row", len(service.index) - 1)
        return JSONResponse(await service.similarity(sent, row))


@api.get(
    "/images/{row}/query", summary="Query with an indexed image", openapi_extra=parameters(), responses=answers(ANSWER)
)
async def query_row(request: Request, row: int, service: Served) -> JSONResponse:
    """The same JSON as `/api/query`, for an indexed image by its row."""
    async with service.admitted():
        return JSONResponse((await service.answer_row(row, options_of(request.query_params))).to_json())


@api.get("/images/{row}/look", summary="Query with an indexed image, as the page does", openapi_extra=parameters())
async def look_row(request: Request, row: int, service: Served) -> JSONResponse:
    """The answer with everything that the page shows."""
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
    """Two heat maps; the mean of either is the inner product of the embeddings."""
    async with service.admitted():
        return JSONResponse(await service.similarity_row(row, other))


@api.get("/images/{row}/pixels", summary="An indexed image as the index keeps it", responses=_PNG)
async def pixels(row: int, service: Served) -> Response:
    """Its stored pixels, a square."""
    return Response(service.picture(row), media_type="image/png")


@api.get("/images/{row}/original", summary="The original file of an indexed image", responses=_PNG)
async def original(row: int, service: Served) -> Response:
    """The decoded file, its longer side at most 1,536 pixels; 404, with the reason, if it is not available."""
    async with service.admitted():
        return Response((await service.original(row)).png, media_type="image/png")


@api.api_route("/{rest:path}", methods=["GET", "POST"], include_in_schema=False)
async def nothing(rest: str) -> None:
    """Refuse any other address below /api with 404."""
    raise RequestError(404, "no such address below /api", "see /api/openapi.json")
