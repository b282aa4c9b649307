"""A study in the browser while it runs: a server for this machine, whose page follows the store."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import plotly.offline

from hpt_core import HptError
from hpt_report_html.page import content_of, rendered, resource

if TYPE_CHECKING:
    from hpt_core import History

__all__ = ["Dashboard"]

_HOST = re.compile(r"(127\.0\.0\.1|localhost)(:\d+)?")


class Dashboard(ThreadingHTTPServer):
    """Serves the page of a study. It only reads, and answers to this machine only.

    Args:
        load: Reads the history of the study.
        name: What the study is called.
        port: The port; 0: any free one. See ``server_port``.

    Raises:
        OSError: If the port is in use.
    """

    daemon_threads = True

    def __init__(self, load: Callable[[], History], name: str, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self._load, self._name = load, name
        self._lock = Lock()
        self._content: dict[str, Any] = {"position": -1}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print the traceback of an error, but not that a browser has closed its connection, as when it reloads."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def page(self) -> str:
        """The whole page, which then asks for updates."""
        return rendered(
            self._current(), [plotly.offline.get_plotlyjs(), resource("draw.js"), resource("follow.js")], live=True
        )

    def update(self, after: str) -> str | None:
        """The page without its scripts; None if the study still is at the position ``after``."""
        content = self._current()
        return None if str(content["position"]) == after else rendered(content, [], live=True)

    def _current(self) -> dict[str, Any]:
        with self._lock:
            history = self._load()
            if history.position != self._content["position"]:
                self._content = content_of(history, self._name)
            return self._content


class _Handler(BaseHTTPRequestHandler):
    server: Dashboard

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if not _HOST.fullmatch(self.headers.get("Host", "")):
            # Another site's name may have been made to lead here, so that its scripts can read the page.
            self._answer(HTTPStatus.FORBIDDEN, "This server answers to 127.0.0.1 and localhost only.")
        elif path not in ("/", "/update"):
            self._answer(HTTPStatus.NOT_FOUND, "There is only one page here, /.")
        else:
            try:
                after = parse_qs(query).get("after", [""])[-1]
                page = self.server.page() if path == "/" else self.server.update(after)
            except HptError as err:
                self._answer(HTTPStatus.SERVICE_UNAVAILABLE, f"The study cannot be read: {err}")
            else:
                self._answer(HTTPStatus.NO_CONTENT if page is None else HTTPStatus.OK, page or "", "html")

    def _answer(self, status: HTTPStatus, text: str, kind: str = "plain") -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"text/{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the overridden method
        """Do not log requests: the page asks every few seconds."""
