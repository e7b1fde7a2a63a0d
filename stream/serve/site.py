"""What the service answers."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stream.diagnostics import fault
from stream.errors import DeblurError, NoInputError, UsageError, WriteError
from stream.preview.access import Guard
from stream.preview.site import HEADERS, Handler, Site
from stream.secrets import Secrets
from stream.serve import document
from stream.serve.folders import Folders
from stream.serve.jobs import Job, Jobs, State, new_key
from stream.serve.news import News
from stream.serve.options import Options
from stream.serve.pairs import Pairs
from stream.serve.upload import BrokenOffError, TooLargeError, check_name, receive
from stream.web import page

_FILES = "index.html", "style.css", "app.js"
_OPEN = "/healthz", "/openapi.json"
"""What nobody needs a token for: it tells nothing of the jobs."""
_MOST_LISTED = 500
_SANDBOX = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data: blob:; frame-ancestors 'self'"
)
"""For the page of a pair, which has all in it and needs nothing of ours."""
_STATUS: dict[type[BaseException], int] = {
    UsageError: 400,
    ValidationError: 400,
    NoInputError: 404,
    TooLargeError: 413,
    BrokenOffError: 400,
    WriteError: 507,
    DeblurError: 500,
}


class Submission(BaseModel):
    """A job for a file in the folder of inputs."""

    model_config = ConfigDict(
        extra="forbid", strict=True, title="Submission", use_attribute_docstrings=True
    )

    path: Annotated[str, Field(min_length=1, max_length=4096)]
    """Its name there, with the folders in it."""
    options: Options = Options()


class Service(Site):
    """The queue over HTTP, with its page."""

    def __init__(
        self,
        guard: Guard,
        jobs: Jobs,
        folders: Folders,
        *,
        max_upload: int,
        work: Callable[[], None],
        cancel: Callable[[int], Any],
    ) -> None:
        """`work` is called where a job may be there to do, `cancel` with one that is at work."""
        root = files(__package__).joinpath("page")
        shared = {name: page.text(name).encode() for name in page.FILES}
        own = {name: root.joinpath(name).read_bytes() for name in _FILES}
        super().__init__(guard, {**shared, **own})
        self._jobs, self._folders, self._max_upload = jobs, folders, max_upload
        self._work, self._cancel_running = work, cancel
        self._progress: dict[int, Mapping[str, Any]] = {}
        self._pairs = Pairs(jobs, folders)
        self.news = News(self.shown)
        jobs.tell(self._changed)
        routes = {
            ("get", "/healthz"): self._health,
            ("get", "/openapi.json"): self._document,
            ("get", "/jobs"): self._list,
            ("post", "/jobs"): self._submit,
            ("post", "/uploads"): self._upload,
            ("get", "/events"): self._events,
            ("get", "/jobs/{number}"): self._show,
            ("delete", "/jobs/{number}"): self._delete,
            ("get", "/jobs/{number}/events"): self._job_events,
            ("post", "/jobs/{number}/cancel"): self._cancel,
            ("post", "/jobs/{number}/resume"): self._resume,
            ("get", "/jobs/{number}/output"): self._download,
            ("get", "/jobs/{number}/compare"): self._compare,
        }
        for (method, path), handler in routes.items():
            self.app.router.add_route(method, path.replace("number}", r"number:\d{1,15}}"), handler)
        self.app.on_shutdown.append(self._shut)

    def shown(self, job: Job, *, whole: bool = False) -> dict[str, Any]:
        """A job as it is told; the `whole` of it has the report, which is long."""
        told: dict[str, Any] = {
            name: value for name, value in vars(job).items() if name not in ("key", "attempts")
        }
        if job.state != State.DONE:
            told["output"] = None
        report = job.report or {}
        told["conforms"] = (report.get("conformance") or {}).get("conforms")
        told["progress"] = self._progress.get(job.number) if job.state == State.RUNNING else None
        if not whole:
            del told["report"]
        return told

    def seen(self, number: int, progress: Mapping[str, Any]) -> None:
        """Tell how far a job is."""
        self._progress[number] = {key: progress[key] for key in progress if key != "input"}
        if (job := self._jobs.get(number)) is not None:
            self.news.tell(job)

    def _changed(self, job: Job | int) -> None:
        if not isinstance(job, Job) or job.state != State.RUNNING:
            self._progress.pop(job.number if isinstance(job, Job) else job, None)
        self.news.tell(job)

    async def _admit(self, request: web.Request) -> None:
        if request.path not in _OPEN:
            await super()._admit(request)

    @web.middleware
    async def _check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await super()._check(request, handler)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            said = (error.text or error.reason).strip()
            response = _error(error.status, said)
            response.headers.update(error.headers)
            response.content_type = "application/json"
            return response
        except (DeblurError, ValidationError) as error:
            status = next(code for kind, code in _STATUS.items() if isinstance(error, kind))
            return _error(status, _line(error))
        except sqlite3.Error as error:
            return _error(507, f"the queue cannot be written: {error}")
        except ConnectionError:
            raise  # of whoever is gone
        except Exception as error:
            line = f"unexpected {type(error).__name__} at {request.method} {request.path}"
            _log.error("%s %s: %s", request.method, request.path, fault(error, Secrets()))
            return _error(500, f"{line}; please report this")

    async def _health(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"queue": "ok"})

    async def _document(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(document.made(Submission, Options))

    async def _list(self, request: web.Request) -> web.StreamResponse:
        state = request.query.get("state")
        if state is not None and state not in list(State):
            raise UsageError(f"state= must be one of {', '.join(State)}")
        limit = min(_number(request, "limit", 100), _MOST_LISTED)
        before = _number(request, "before", 0) or None
        found = self._jobs.all(State(state) if state else None, before, limit)
        listed = [self.shown(job) for job in found]
        return web.json_response({"jobs": listed, "counts": self._jobs.counts()})

    async def _submit(self, request: web.Request) -> web.StreamResponse:
        _no_form(request)
        asked = Submission.model_validate(await _body(request))
        file = self._folders.input(asked.path)
        name = str(Path(asked.path))
        if Path(name).is_absolute() or ".." in Path(name).parts:
            name = str(file.relative_to(self._folders.inputs))
        options = asked.options.model_dump(exclude_none=True)
        job = self._jobs.add(Path(name).name, "path", name, file.stat().st_size, options)
        self._work()
        return web.json_response(self.shown(job), status=201)

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        name = check_name(request.query.get("name", ""))
        _no_form(request)
        given = Options.model_validate_json(request.query.get("options") or "{}")
        key = new_key()
        size = await receive(request, self._folders, key, name, self._max_upload)
        options = given.model_dump(exclude_none=True)
        job = self._jobs.add(name, "upload", None, size, options, key=key)
        self._work()
        return web.json_response(self.shown(job), status=201)

    def _job(self, request: web.Request) -> Job:
        job = self._jobs.get(int(request.match_info["number"]))
        if job is None:
            raise web.HTTPNotFound(text="there is no such job\n")
        return job

    async def _show(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self.shown(self._job(request), whole=True))

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        _no_form(request)
        job = self._job(request)
        if job.state == State.QUEUED:
            self._jobs.set(job.number, state=State.CANCELLED, said="cancelled before it was begun")
        elif job.state == State.RUNNING:
            await self._cancel_running(job.number)
        else:
            raise web.HTTPConflict(text=f"the job is {job.state}\n")
        return web.json_response(self.shown(self._job(request)), status=202)

    async def _resume(self, request: web.Request) -> web.StreamResponse:
        _no_form(request)
        job = self._job(request)
        if job.state not in (State.CANCELLED, State.FAILED):
            raise web.HTTPConflict(text=f"the job is {job.state}\n")
        job = self._jobs.set(job.number, state=State.QUEUED, attempts=0, finished=None, said="")
        self._work()
        return web.json_response(self.shown(job), status=202)

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        job = self._job(request)
        if job.state == State.RUNNING:
            raise web.HTTPConflict(text="the job is at work; cancel it first\n")
        self._jobs.delete(job.number)
        if request.query.get("output") == "delete" and job.output is not None:
            file = self._folders.output(job.output)
            if file is not None:
                file.unlink(missing_ok=True)
        await asyncio.to_thread(self._folders.forget, job.key)
        return web.Response(status=204)

    async def _download(self, request: web.Request) -> web.StreamResponse:
        job = self._job(request)
        file = self._folders.output(job.whole) if job.whole else None
        if file is None:
            raise web.HTTPNotFound(text="there is no output\n")
        disposition = f"attachment; filename*=UTF-8''{quote(file.name)}"
        headers = {**HEADERS, "Content-Disposition": disposition}
        # Not what the name says: nothing that comes from here is to be run by a browser.
        return web.FileResponse(file, headers={**headers, "Content-Type": _BYTES})

    async def _compare(self, request: web.Request) -> web.StreamResponse:
        made = await self._pairs.page(self._job(request))
        headers = {"Content-Security-Policy": _SANDBOX, "X-Frame-Options": "SAMEORIGIN"}
        return web.FileResponse(made, headers={**HEADERS, **headers, "Content-Type": _HTML})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        return await self._stream(request, None)

    async def _job_events(self, request: web.Request) -> web.StreamResponse:
        return await self._stream(request, self._job(request))

    async def _stream(self, request: web.Request, job: Job | None) -> web.StreamResponse:
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            await self.news.send(response, job)
        except ConnectionError:
            pass
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
        return response

    async def _shut(self, app: web.Application) -> None:
        self.news.close()


_log = logging.getLogger(__name__)
_FORMS = "application/x-www-form-urlencoded", "multipart/form-data", "text/plain"
_BYTES = "application/octet-stream"
_HTML = "text/html; charset=utf-8"


def _error(status: int, said: str) -> web.Response:
    return web.json_response({"error": said}, status=status, headers=HEADERS)


def _line(error: DeblurError | ValidationError) -> str:
    """What is wrong, in one line."""
    if isinstance(error, DeblurError):
        return " ".join(str(error).split())
    found = error.errors(include_url=False, include_context=False, include_input=False)
    parts = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}".lstrip(": ") for each in found]
    return "; ".join(parts)


def _no_form(request: web.Request) -> None:
    if request.content_type in _FORMS:
        # Another site's page can send no others.
        raise web.HTTPUnsupportedMediaType(text="send JSON, or a file as it is\n")


async def _body(request: web.Request) -> Any:
    try:
        return await request.json()
    except (ValueError, RecursionError):
        raise UsageError("the body is no JSON") from None


def _number(request: web.Request, name: str, usual: int) -> int:
    text = request.query.get(name, str(usual))
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):
        raise UsageError(f"{name}= must be a number")
    return int(text)
