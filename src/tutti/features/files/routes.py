"""Routes that announce, upload, list, read and delete files. `part_routes` has uploads in parts."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from tutti.access.keys import server_secret
from tutti.base.errors import Forbidden, InvalidRequest
from tutti.features.answers import answer
from tutti.features.files import download, part_routes, uploads
from tutti.features.files.answers import duplicate, file_answer
from tutti.features.files.bodies import length_of, whole_body
from tutti.features.files.deletion import delete_file
from tutti.features.files.forms import FilePart, MultipartForm, parse, urlencoded
from tutti.features.files.listing import MAX_PAGE, list_files
from tutti.features.files.schemas import Announcement, FileDeleteResponse, FileList, FileResponse
from tutti.features.files.service import find
from tutti.features.files.shapes import dialect, shown
from tutti.features.paging import Order
from tutti.http.context import caller, is_signed
from tutti.http.signed import SignedUrls, origin
from tutti.platform import Platform
from tutti.store.records import File

PUT_WITHIN_S = 3600.0

_MULTIPART = "multipart/form-data"
_URLENCODED = "application/x-www-form-urlencoded"


def router(platform: Platform) -> APIRouter:
    routes = APIRouter(tags=["Files"])
    signed = SignedUrls(server_secret(platform.settings))
    _upload_routes(routes, platform, signed)
    _file_routes(routes, platform)
    part_routes.add(routes, platform, signed)
    return routes


def _upload_routes(routes: APIRouter, platform: Platform, signed: SignedUrls) -> None:
    @routes.post(
        "/files",
        operation_id="createFile",
        summary="Announce or upload a file",
        response_model=FileResponse,
        responses={
            302: {"description": "Put the bytes at `location`."},
            409: {"description": "Known already."},
        },
        openapi_extra=_form(announced=True),
    )
    async def create(request: Request) -> Response:
        """Upload a file, or announce one. With the bytes in a part of the form, the answer is the file.
        Without them, it is a 302 whose `location` takes the bytes by PUT, without a key, for an hour."""
        form = _multipart(request)
        part = None if form is None else await form.file()
        if form is not None and part is not None:
            return file_answer(request, await _uploaded(platform, request, form, part))
        fields = await _urlencoded(request) if form is None else form.fields
        file = await uploads.announce(platform, caller(request).project_id, parse(Announcement, fields))
        if isinstance(file, uploads.Duplicate):
            return duplicate(file)
        path = f"/v1/files/{file.id}/content"
        location = f"{origin(request)}{path}?{signed.query('PUT', path, caller(request), PUT_WITHIN_S)}"
        return Response(status_code=302, headers={"location": location, "x-together-file-id": file.id})

    @routes.post(
        "/files/upload",
        operation_id="uploadFile",
        summary="Upload a file",
        response_model=FileResponse,
        openapi_extra=_form(announced=False),
    )
    async def upload(request: Request) -> Response:
        """Upload a file with specified purpose, file name, and file type."""
        form = _multipart(request)
        part = None if form is None else await form.file()
        if form is None or part is None:
            raise InvalidRequest("Send a multipart/form-data body with a part `file`.", param="file")
        return file_answer(request, await _uploaded(platform, request, form, part))

    @routes.put("/files/{id}/content", operation_id="putFile", summary="Put a file's bytes")
    async def put(request: Request, id: str) -> Response:
        """Put the bytes of an announced file at the URL of the announcement, which needs no key."""
        if not is_signed(request):
            raise Forbidden("Announce the file with POST /files, and put it at the location it answers.")
        data = whole_body(request)
        await uploads.put(platform, caller(request).project_id, id, data, length_of(request))
        return Response()

    @routes.post(
        "/files/{id}/preprocess",
        operation_id="preprocessFile",
        summary="Retrieve a file that was put",
        response_model=FileResponse,
    )
    async def preprocess(request: Request, id: str) -> Response:
        """Return the file: the last step of an upload for some clients. The check of the content has begun
        already."""
        return file_answer(request, await find(platform, caller(request).project_id, id))


def _file_routes(routes: APIRouter, platform: Platform) -> None:
    @routes.get("/files", operation_id="listFiles", summary="List all files", response_model=FileList)
    async def files(
        request: Request,
        purpose: Annotated[str | None, Query(description="Only files of this purpose.")] = None,
        after: Annotated[str | None, Query(description="`last_id` of the page before.")] = None,
        order: Annotated[Order, Query(description="By age: `desc` is newest first.")] = "desc",
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = MAX_PAGE,
    ) -> Response:
        """List the metadata for all uploaded data files."""
        page = await list_files(
            platform,
            caller(request).project_id,
            purpose=purpose,
            after=after,
            order=order,
            limit=limit,
        )
        data = [shown(file, dialect(request)) for file in page.rows]
        ends = page.ends(lambda file: file.id)
        return answer({"object": "list", "data": data, "has_more": page.has_more, **ends})

    @routes.get(
        "/files/{id}",
        operation_id="retrieveFile",
        summary="Retrieve file metadata",
        response_model=FileResponse,
    )
    async def file(request: Request, id: str) -> Response:
        """Retrieve the metadata for a single uploaded data file."""
        return file_answer(request, await find(platform, caller(request).project_id, id))

    @routes.delete(
        "/files/{id}", operation_id="deleteFile", summary="Delete a file", response_model=FileDeleteResponse
    )
    async def delete(request: Request, id: str) -> Response:
        """Delete a previously uploaded data file. One that a batch or an evaluation still reads is a 409."""
        await delete_file(platform, caller(request).project_id, id)
        return answer({"id": id, "object": "file", "deleted": True})

    @routes.get(
        "/files/{id}/content",
        operation_id="retrieveFileContent",
        summary="Get file contents",
        response_class=Response,
        responses={
            200: {"content": {download.MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}}
        },
    )
    async def content(request: Request, id: str) -> Response:
        """Get the contents of a single uploaded data file: all, or the bytes of a `Range`."""
        return await download.answer(platform, request, await find(platform, caller(request).project_id, id))

    routes.add_api_route("/files/{id}/content", content, methods=["HEAD"], include_in_schema=False)


async def _uploaded(platform: Platform, request: Request, form: MultipartForm, part: FilePart) -> File:
    return await uploads.upload(platform, caller(request).project_id, form, part, length_of(request))


def _multipart(request: Request) -> MultipartForm | None:
    content_type = request.headers.get("content-type", "")
    return MultipartForm(content_type, whole_body(request)) if _kind(content_type) == _MULTIPART else None


async def _urlencoded(request: Request) -> dict[str, str]:
    """Return the fields of the body and those of the query, where some clients send them too."""
    if _kind(request.headers.get("content-type", "")) != _URLENCODED:
        raise InvalidRequest(f"Send a body of {_MULTIPART} or {_URLENCODED}.")
    return {**request.query_params, **await urlencoded(whole_body(request))}


def _kind(content_type: str) -> str:
    return content_type.split(";")[0].strip().lower()


def _form(*, announced: bool) -> dict[str, Any]:
    """Describe the form for /openapi.json: it is read as it comes, so the framework doesn't know of it."""
    schemas = "#/components/schemas/"
    properties = {
        "purpose": {"$ref": f"{schemas}FilePurpose"},
        "file_name": {"type": "string", "description": "The name of the file being uploaded"},
        "file_type": {"$ref": f"{schemas}FileType"},
        "checksum": {"type": "string", "description": "SHA-256 of the bytes, in hex."},
    }
    bytes_ = {"type": "string", "format": "binary", "description": "The content of the file being uploaded"}
    with_bytes = {
        "type": "object",
        "required": ["purpose", "file"],
        "properties": {**properties, "file": bytes_},
    }
    if not announced:
        content = {_MULTIPART: {"schema": with_bytes}}
    else:
        described = {"type": "object", "required": ["purpose", "file_name"], "properties": properties}
        content = {
            _MULTIPART: {"schema": {"anyOf": [described, with_bytes]}},
            _URLENCODED: {"schema": described},
        }
    return {"requestBody": {"required": True, "content": content}}
