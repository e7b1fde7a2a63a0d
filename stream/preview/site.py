"""What all pages that are served have in common: who gets in, headers, and the page's own files."""

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from stream.preview.access import Guard
from stream.web.admission import LimitedListener

HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' blob:; media-src 'self' blob:; connect-src 'self'; frame-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}
_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_LARGEST = 64 << 10
"""Bytes of what a browser sends at once."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Site:
    """Serves a page to those whom a guard lets in."""

    def __init__(self, guard: Guard, files: Mapping[str, bytes]) -> None:
        """`files` by their names, index.html among them; no request ever names another."""
        self._guard = guard
        self._files = files
        self.listener: LimitedListener | None = None
        """What it is served through, where others than a test serve it."""
        self.app = web.Application(middlewares=[self._check], client_max_size=_LARGEST)
        self.app.router.add_get("/", self._home)
        for name in files:
            if name != "index.html":
                self.app.router.add_get(f"/{name}", self._file)

    @web.middleware
    async def _check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            self._guard.check_names(request)
            await self._admit(request)
            response = await handler(request)
        except web.HTTPException as error:
            error.headers.update(HEADERS)
            raise
        if not response.prepared:
            response.headers.update({**HEADERS, **response.headers})
        return response

    async def _admit(self, request: web.Request) -> None:
        """Raise an `HTTPException` where the request may not be answered."""
        await self._guard.check_token(request)
        if self.listener is not None:
            self.listener.know(request)

    async def _home(self, request: web.Request) -> web.StreamResponse:
        if "token" in request.query:
            # It shall not stay in the address line, and so in the history.
            response: web.StreamResponse = web.Response(status=303, headers={"Location": "/"})
            self._guard.remember(response)
            return response
        response = self._answer("index.html")
        self._guard.remember(response)
        return response

    async def _file(self, request: web.Request) -> web.StreamResponse:
        return self._answer(request.path.removeprefix("/"))

    def _answer(self, name: str) -> web.Response:
        kind = _TYPES[name[name.rindex(".") :]]
        charset = None if kind.startswith("image/") else "utf-8"
        return web.Response(body=self._files[name], content_type=kind, charset=charset)


def runner_of(site: Site) -> web.AppRunner:
    """What serves a site."""
    return web.AppRunner(
        site.app,
        access_log=None,
        shutdown_timeout=0.5,
        keepalive_timeout=30.0,
        # Else who waits for a picture that never comes would stay after its connection.
        handler_cancellation=True,
    )
