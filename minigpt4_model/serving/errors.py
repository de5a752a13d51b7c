"""Errors as OpenAI's API writes them: `{"error": {"message", "type", "param", "code"}}` with the status that fits."""

import logging
from collections.abc import Sequence

import fastapi
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from ..chat.backends.base import BackendError
from ..chat.messages import MessageError
from ..chat.pictures import PictureError
from ..chat.settings import SettingsError

logger = logging.getLogger(__name__)

BROKEN = "Something went wrong on the server; its log says what."
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class ErrorDetails(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    error: ErrorDetails


class ApiError(fastapi.HTTPException):
    """A request that is not answered. `param` names the field at fault, `code` is for programs."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None, headers: dict | None = None):
        super().__init__(status, message, headers)
        self.body = error_body(status, message, param, code)


def error_body(status: int, message: str, param: str | None = None, code: str | None = None) -> dict:
    kind = _TYPES.get(status) or ("server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def as_api_error(fault: Exception) -> ApiError:
    """What the client is told of a fault while answering. The cause of one that should not happen is in the log only."""
    match fault:
        case ApiError():
            return fault
        case MessageError() | PictureError():
            return ApiError(400, str(fault), param="messages")
        case SettingsError():
            return ApiError(400, str(fault))
        case BackendError():
            return ApiError(503, str(fault), code="backend_unavailable")
    logger.error("The answer failed.", exc_info=fault)
    return ApiError(500, BROKEN)


def add_error_shapes(api: fastapi.FastAPI) -> None:
    """Every error of `api` in OpenAI's shape: its own, those of routing and of validation, and what should not happen."""

    @api.exception_handler(HTTPException)
    async def refused(request: fastapi.Request, fault: HTTPException) -> JSONResponse:
        told = str(fault.detail) if fault.status_code != 404 else f"There is nothing at {request.method} {request.url.path}."
        body = fault.body if isinstance(fault, ApiError) else error_body(fault.status_code, told)
        return JSONResponse(body, fault.status_code, fault.headers)

    @api.exception_handler(RequestValidationError)
    async def invalid(request: fastapi.Request, fault: RequestValidationError) -> JSONResponse:
        param, message, code = _describe(_most_telling(fault.errors()))
        return JSONResponse(error_body(400, message, param, code), 400)

    @api.exception_handler(Exception)
    async def broken(request: fastapi.Request, fault: Exception) -> JSONResponse:
        return JSONResponse(error_body(500, BROKEN), 500)  # the server logs it


def _most_telling(faults: Sequence[dict]) -> dict:
    """The fault that is deepest inside the request: of a union's variants, the one that was meant. A text is what is rarely meant."""
    return max(faults, key=lambda fault: (len(fault["loc"]), fault["type"] != "string_type"))


def _describe(fault: dict) -> tuple[str | None, str, str | None]:
    """The field, a sentence and a code for the first fault that pydantic found; what the client wrote is not repeated."""
    place = fault["loc"]
    if fault["type"] == "json_invalid":
        return None, f"The body is not JSON: {fault['ctx']['error']} at character {place[-1]}.", None
    param = _field(place)
    if fault["type"] == "extra_forbidden":
        return param, f"Unrecognized request argument supplied: {param}.", "unknown_parameter"
    if fault["type"] == "missing":
        return param, f"Missing required parameter: {param or 'the JSON body, sent as application/json'}.", "missing_required_parameter"
    return param, f"Invalid value for {param or 'the body'}: {fault['msg']}.", None


def _field(place: tuple) -> str | None:
    """The field as a client writes it, messages[0].content[1].text, from where pydantic was, which names variants of unions besides."""
    names: list = []
    in_union = False
    for index, name in enumerate(place):
        variant = isinstance(name, str) and (name.endswith("str") or "[" in name)
        if in_union and index and isinstance(place[index - 1], int):
            in_union = False  # this is the tag: it is a value of the part, not a field of it
        elif not variant:
            names.append(name)
        in_union = in_union or (isinstance(name, str) and name.startswith("list[tagged-union"))
    return "".join(f"[{name}]" if isinstance(name, int) else f".{name}" for name in names if name != "body").lstrip(".") or None
