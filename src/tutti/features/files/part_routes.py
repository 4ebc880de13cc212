"""The routes of uploads in parts, as the official clients use them for files of more than 5 GiB."""

from typing import Any

from fastapi import APIRouter, Request, Response

from tutti.base.errors import Forbidden
from tutti.features.answers import answer
from tutti.features.files import parts
from tutti.features.files.answers import duplicate, patiently
from tutti.features.files.bodies import length_of, whole_body
from tutti.features.files.schemas import (
    MultipartAbortRequest,
    MultipartAbortResponse,
    MultipartCompleteRequest,
    MultipartCompleteResponse,
    MultipartInitiateRequest,
    MultipartInitiateResponse,
)
from tutti.features.files.shapes import dialect, shown
from tutti.features.files.uploads import Duplicate
from tutti.http.context import caller, is_signed
from tutti.http.signed import SignedUrls, origin
from tutti.platform import Platform
from tutti.store.records import Upload

PUT_WITHIN_S = 24 * 3600.0


def add(routes: APIRouter, platform: Platform, signed: SignedUrls) -> None:
    @routes.post(
        "/files/multipart/initiate",
        operation_id="initiateMultipartUpload",
        summary="Begin an upload in parts",
        response_model=MultipartInitiateResponse,
    )
    async def initiate(request: Request, body: MultipartInitiateRequest) -> Response:
        """Begin an upload. The answer has a URL for each part, which takes its bytes by PUT, without a key,
        for a day."""
        upload = await parts.initiate(platform, caller(request).project_id, body)
        if isinstance(upload, Duplicate):
            return duplicate(upload)
        numbers = range(1, upload.num_parts + 1)
        targets = [_target(request, signed, upload, number) for number in numbers]
        return answer({"upload_id": upload.id, "file_id": upload.file_id, "parts": targets})

    @routes.put(
        "/files/multipart/{upload_id}/parts/{number}", operation_id="putPart", summary="Put a part's bytes"
    )
    async def put(request: Request, upload_id: str, number: int) -> Response:
        """Put the bytes of a part at the URL that the beginning of an upload answers. The ETag of the answer
        stands for the part when the upload is completed."""
        if not is_signed(request):
            raise Forbidden(
                "Begin with POST /files/multipart/initiate, and put the parts at the URLs it answers."
            )
        size_bytes = length_of(request)
        project_id = caller(request).project_id
        etag = await parts.put_part(platform, project_id, upload_id, number, whole_body(request), size_bytes)
        return Response(headers={"etag": f'"{etag}"'})

    @routes.post(
        "/files/multipart/complete",
        operation_id="completeMultipartUpload",
        summary="End an upload in parts",
        response_model=MultipartCompleteResponse,
    )
    async def complete(request: Request, body: MultipartCompleteRequest) -> Response:
        """Join the parts to a file. This may be repeated. While it takes long, the answer begins with
        spaces."""
        project_id = caller(request).project_id
        assembly = await parts.assemble(platform, project_id, body.upload_id, body.file_id, body.parts)

        async def join() -> dict[str, Any]:
            return {"file": shown(await parts.complete(platform, assembly), dialect(request))}

        return await patiently(join())

    @routes.post(
        "/files/multipart/abort",
        operation_id="abortMultipartUpload",
        summary="Give up an upload in parts",
        response_model=MultipartAbortResponse,
    )
    async def abort(request: Request, body: MultipartAbortRequest) -> Response:
        """Give up the upload. A file that is complete already stays."""
        project_id = caller(request).project_id
        aborted = await parts.abort(platform, project_id, body.upload_id, body.file_id)
        return answer({"upload_id": body.upload_id, "file_id": body.file_id, "aborted": aborted})


def _target(request: Request, signed: SignedUrls, upload: Upload, number: int) -> dict[str, Any]:
    path = f"/v1/files/multipart/{upload.id}/parts/{number}"
    url = f"{origin(request)}{path}?{signed.query('PUT', path, caller(request), PUT_WITHIN_S)}"
    return {"PartNumber": number, "part_number": number, "URL": url, "UploadURL": url, "Headers": {}}
