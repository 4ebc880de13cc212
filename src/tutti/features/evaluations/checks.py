"""Checks of an evaluation's parameters beyond their schema. The error names the field."""

from collections.abc import Collection, Iterator

from tutti.base.errors import InvalidRequest, NotFound
from tutti.base.model import ANSWERING_TYPES
from tutti.features.evaluations.admission import TemplateChecks
from tutti.features.evaluations.schemas import (
    AnyParameters,
    Called,
    EvaluationClassifyParameters,
    EvaluationCompareParameters,
    EvaluationModelRequest,
    EvaluationScoreParameters,
)
from tutti.features.files import service as files
from tutti.fetch.fetch import Fetcher
from tutti.platform import Platform

FILE_TYPES = ("jsonl", "csv")

Subject = tuple[str, str | EvaluationModelRequest]
"""The name of a field of the parameters, and its value: a model, or the name of a field of the data."""


async def check(
    platform: Platform, templates: TemplateChecks, project_id: str, parameters: AnyParameters
) -> None:
    """Raise InvalidRequest unless the evaluation can run with these parameters."""
    _check_kind(parameters)
    for param, called in all_called(parameters):
        if called.model_source == "external":
            _check_external(platform.fetcher, called, param)
        else:
            await _check_model(platform, project_id, called, param)
    await _check_file(platform, project_id, parameters.input_data_file_path)
    await templates.check(project_id, _templates(parameters))


def subjects(parameters: AnyParameters) -> list[Subject]:
    """Return the subjects to judge: none (the data itself is judged), one, or two to compare."""
    if isinstance(parameters, EvaluationCompareParameters):
        named = {"model_a": parameters.model_a, "model_b": parameters.model_b}
    else:
        named = {"model_to_evaluate": parameters.model_to_evaluate}
    return [(name, subject) for name, subject in named.items() if subject is not None]


def all_called(parameters: AnyParameters) -> Iterator[tuple[str, Called]]:
    """Yield every model to call, with its path in the request."""
    yield "parameters.judge", parameters.judge
    for name, subject in subjects(parameters):
        if isinstance(subject, EvaluationModelRequest):
            yield f"parameters.{name}", subject


def _templates(parameters: AnyParameters) -> dict[str, str]:
    """Return the sources by the field that has them."""
    found: dict[str, str] = {}
    for param, called in all_called(parameters):
        found[f"{param}.system_template"] = called.system_template
        if isinstance(called, EvaluationModelRequest):
            found[f"{param}.input_template"] = called.input_template
    return found


def _check_kind(parameters: AnyParameters) -> None:
    if isinstance(parameters, EvaluationClassifyParameters):
        _check_labels(parameters.labels, parameters.pass_labels)
    elif isinstance(parameters, EvaluationScoreParameters):
        _check_scores(parameters)
    else:
        for name in ("model_a", "model_b"):
            if getattr(parameters, name) is None:
                raise _wrong(name, "is required: a model, or the name of the field that has its responses")


def _check_labels(labels: Collection[str], pass_labels: Collection[str]) -> None:
    for name, values in (("labels", labels), ("pass_labels", pass_labels)):
        if any(not value.strip() for value in values):
            raise _wrong(name, "has an empty label")
        if len(set(values)) < len(values):
            raise _wrong(name, "has a label twice")
    unknown = [label for label in pass_labels if label not in labels]
    if unknown:
        raise _wrong("pass_labels", f"has {unknown[0]!r}, which is not one of `parameters.labels`")


def _check_scores(parameters: EvaluationScoreParameters) -> None:
    if parameters.min_score >= parameters.max_score:
        raise _wrong("min_score", "should be less than `parameters.max_score`")
    if not parameters.min_score <= parameters.pass_threshold <= parameters.max_score:
        raise _wrong("pass_threshold", "should lie between `min_score` and `max_score`")


def _check_external(fetcher: Fetcher, called: Called, param: str) -> None:
    if not called.external_base_url:
        raise _required(f"{param}.external_base_url")
    if not called.external_api_token:
        raise _required(f"{param}.external_api_token")
    if not (called.external_api_token.isascii() and called.external_api_token.isprintable()):
        raise InvalidRequest(
            f"`{param}.external_api_token` has characters that no token has.",
            param=f"{param}.external_api_token",
        )
    fetcher.check(called.external_base_url, param=f"{param}.external_base_url")


async def _check_model(platform: Platform, project_id: str, called: Called, param: str) -> None:
    try:
        model = await platform.dispatch.resolve(called.model, project_id)
    except NotFound as error:
        raise InvalidRequest(error.message, param=f"{param}.model", code=error.code) from None
    if model.type not in ANSWERING_TYPES:
        raise InvalidRequest(
            f"{model.name} is a model for {model.type}, which cannot write text: use a chat model.",
            param=f"{param}.model",
        )


async def _check_file(platform: Platform, project_id: str, file_id: str) -> None:
    try:
        file = await files.find(platform, project_id, file_id)
    except NotFound as error:
        message = f"{error.message} Upload it with purpose `eval`, and give its id."
        raise _wrong_file(message) from None
    if file.file_type not in FILE_TYPES:
        raise _wrong_file(f"{file_id} is a {file.file_type} file: evaluations read jsonl and csv.")
    if file.processing_status in ("FAILED", "INVALID_FORMAT"):
        raise _wrong_file(f"{file_id} has not passed its check: GET /v1/files/{file_id} says why.")


def _wrong(name: str, what: str) -> InvalidRequest:
    return InvalidRequest(f"`parameters.{name}` {what}.", param=f"parameters.{name}")


def _wrong_file(message: str) -> InvalidRequest:
    return InvalidRequest(message, param="parameters.input_data_file_path")


def _required(param: str) -> InvalidRequest:
    return InvalidRequest(f"`{param}` is required for an external model: add it.", param=param)
