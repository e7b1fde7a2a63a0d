"""What the service answers, as OpenAPI describes it."""

from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from stream.serve.jobs import State


def made(*bodies: type[BaseModel]) -> dict[str, Any]:
    """The document; `bodies` are what requests send."""
    _, sent = models_json_schema(
        [(body, "validation") for body in bodies], ref_template="#/components/schemas/{model}"
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "deblur serve",
            "version": version("deblur-stream"),
            "description": "A queue of videos to restore.",
        },
        "security": [{"bearer": []}, {"basic": []}, {"query": []}],
        "paths": _PATHS,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic", "description": "With any user."},
                "query": {"type": "apiKey", "in": "query", "name": "token"},
            },
            "schemas": {**sent["$defs"], **_SCHEMAS},
        },
    }


def _object(properties: dict[str, Any], *optional: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def _or_null(kind: str, description: str = "") -> dict[str, Any]:
    return {"type": [kind, "null"], **({"description": description} if description else {})}


def _json(schema: str, description: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": description, "content": content}


def _answers(status: str, good: dict[str, Any], **errors: str) -> dict[str, Any]:
    """A good answer and the errors that a request may get, by their names in `_ERRORS`."""
    bad = {"401": _ERRORS["unknown"], "403": _ERRORS["foreign"]}
    bad |= {_STATUS[name]: _json("Error", text) for name, text in errors.items()}
    return {"responses": {status: good, **bad}}


_STATUS = {
    "nonsense": "400",
    "missing": "404",
    "state": "409",
    "large": "413",
    "form": "415",
    "full": "507",
}
_ERRORS = {
    "unknown": _json("Error", "The token or password is missing or wrong."),
    "foreign": _json("Error", "The request names another host, or comes from another site."),
}
_SCHEMAS: dict[str, Any] = {
    "Error": _object({"error": {"type": "string", "description": "What is wrong, in one line."}}),
    "Progress": _object(
        {
            "phase": {"type": "string", "enum": ["restoring", "writing", "verifying"]},
            "frames": {"type": "integer"},
            "earlier": {"type": "integer", "description": "Frames that were done before."},
            "expected_frames": _or_null("integer"),
            "fps": _or_null("number"),
            "left_s": _or_null("number"),
            "bottleneck": {"type": "string"},
            "runs_on": {"type": "string"},
        }
    ),
    "Job": _object(
        {
            "number": {"type": "integer"},
            "name": {"type": "string"},
            "origin": {"type": "string", "enum": ["path", "upload", "watch"]},
            "path": _or_null("string", "In the folder of inputs; null of an upload."),
            "size": {"type": "integer", "description": "Bytes of the input."},
            "options": {"type": "object"},
            "state": {"type": "string", "enum": [*State]},
            "created": {"type": "number", "description": "Seconds since 1970, as all times."},
            "started": _or_null("number"),
            "finished": _or_null("number"),
            "exit_code": _or_null("integer", "Of deblur run, or minus the number of a signal."),
            "said": {"type": "string", "description": "What became of it, in one line."},
            "notes": {"type": "array", "items": {"type": "string"}},
            "output": _or_null("string", "In the folder of outputs, once the job is done."),
            "report": _or_null("object", "Of deblur run --json; only where one job is shown."),
            "conforms": _or_null("boolean", "Whether nothing but the blur differs."),
            "progress": {"anyOf": [{"$ref": "#/components/schemas/Progress"}, {"type": "null"}]},
        },
        "report",
    ),
    "Jobs": _object(
        {
            "jobs": {"type": "array", "items": {"$ref": "#/components/schemas/Job"}},
            "counts": _object({state: {"type": "integer"} for state in State}),
        }
    ),
    "Health": _object({"queue": {"type": "string", "const": "ok"}}),
}


def _query(name: str, schema: dict[str, Any], description: str, **more: Any) -> dict[str, Any]:
    given = {"name": name, "in": "query", "schema": schema, "description": description}
    return {**given, **more}


_NUMBER = {"name": "number", "in": "path", "required": True, "schema": {"type": "integer"}}
_MISSING = "There is no such job."
_STREAM = {
    "description": "Server-sent events: `job` with a Job, and `deleted` with its number.",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}
_PATHS: dict[str, Any] = {
    "/jobs": {
        "get": {
            "summary": "List jobs, the newest first.",
            "parameters": [
                _query("state", {"type": "string", "enum": [*State]}, "Of this state alone."),
                _query("before", {"type": "integer"}, "With lower numbers than this."),
                _query("limit", {"type": "integer", "default": 100}, "At most so many, up to 500."),
            ],
            **_answers("200", _json("Jobs", "Jobs."), nonsense="A parameter makes no sense."),
        },
        "post": {
            "summary": "Submit a file of the folder of inputs.",
            "requestBody": {**_json("Submission", "The file."), "required": True},
            **_answers(
                "201",
                _json("Job", "The job, which waits."),
                nonsense="The body makes no sense.",
                missing="There is no such file in the folder of inputs.",
                form="It is a form.",
            ),
        },
    },
    "/uploads": {
        "post": {
            "summary": "Submit a file: the body is the file itself.",
            "parameters": [
                _query("name", {"type": "string"}, "Of the file.", required=True),
                {
                    "name": "options",
                    "in": "query",
                    "description": "As JSON.",
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/Options"}}
                    },
                },
            ],
            "requestBody": {
                "required": True,
                "content": {"application/octet-stream": {"schema": {}}},
            },
            **_answers(
                "201",
                _json("Job", "The job, which waits."),
                nonsense="The name or an option makes no sense, or not all of the file came.",
                large="The file is larger than --max-upload.",
                form="It is a form.",
                full="The disk has no room for it.",
            ),
        }
    },
    "/events": {"get": {"summary": "What becomes of all jobs.", **_answers("200", _STREAM)}},
    "/jobs/{number}": {
        "parameters": [_NUMBER],
        "get": {
            "summary": "Show a job.",
            **_answers("200", _json("Job", "The job."), missing=_MISSING),
        },
        "delete": {
            "summary": "Delete a job that is not at work, with its upload and unfinished work.",
            "parameters": [
                _query("output", {"type": "string", "const": "delete"}, "Its output as well.")
            ],
            **_answers(
                "204", {"description": "It is gone."}, missing=_MISSING, state="It is at work."
            ),
        },
    },
    "/jobs/{number}/events": {
        "parameters": [_NUMBER],
        "get": {
            "summary": "What becomes of a job, until it has ended.",
            **_answers("200", _STREAM, missing=_MISSING),
        },
    },
    "/jobs/{number}/cancel": {
        "parameters": [_NUMBER],
        "post": {
            "summary": "Cancel a job that waits or is at work; what is done of it is kept.",
            **_answers(
                "202", _json("Job", "The job."), missing=_MISSING, state="It has ended.", form="-"
            ),
        },
    },
    "/jobs/{number}/resume": {
        "parameters": [_NUMBER],
        "post": {
            "summary": "Go on with a job that was cancelled or failed.",
            **_answers(
                "202", _json("Job", "The job."), missing=_MISSING, state="It is no such.", form="-"
            ),
        },
    },
    "/jobs/{number}/output": {
        "parameters": [_NUMBER],
        "get": {
            "summary": "Download the output; ranges can be asked for.",
            **_answers(
                "200",
                {"description": "It.", "content": {"application/octet-stream": {"schema": {}}}},
                missing="There is no output.",
            ),
        },
    },
    "/jobs/{number}/compare": {
        "parameters": [_NUMBER],
        "get": {
            "summary": "A page that shows before and after of a job that is done.",
            **_answers(
                "200",
                {"description": "It.", "content": {"text/html": {"schema": {"type": "string"}}}},
                missing="There is no output, or no input any more.",
                state="They cannot be compared.",
            ),
        },
    },
    "/healthz": {
        "get": {
            "summary": "Whether the service answers.",
            "security": [],
            "responses": {"200": _json("Health", "It does."), "403": _ERRORS["foreign"]},
        }
    },
    "/openapi.json": {
        "get": {
            "summary": "This document.",
            "security": [],
            "responses": {
                "200": {"description": "It.", "content": {"application/json": {"schema": {}}}},
                "403": _ERRORS["foreign"],
            },
        }
    },
}
