"""The dashboard follows a study that goes on, in a real browser too, and answers to this machine only."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from click.testing import CliRunner

from hpt_core import Categorical, Float, History, StoreError, Study
from hpt_core.cli.group import hpt
from hpt_report_html.dashboard import Dashboard

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"]
FLAGS += ["disable-component-update", "disable-sync"]
EVIL = "</script><script>document.title = 'taken over'</script>"


class Growing:
    """A study that has another trial whenever it is read, up to five."""

    def __init__(self) -> None:
        self.study = Study({"x": Float(0, 1), "act": Categorical("relu", EVIL)}, sampler="random", seed=0)
        self.most = 5

    def load(self) -> History:
        if len(self.study.trials) < self.most:
            self.study.run(lambda params: params["x"], trials=len(self.study.trials) + 1)
        return self.study.history


@contextmanager
def serving(dashboard: Dashboard) -> Iterator[str]:
    thread = threading.Thread(target=dashboard.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{dashboard.server_port}"
    finally:
        dashboard.shutdown()
        dashboard.server_close()
        thread.join(30)


def get(url: str, host: str = "") -> tuple[int, str]:
    request = urllib.request.Request(url, headers={"Host": host} if host else {})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as err:
        with err:
            return err.code, err.read().decode()


def position(page: str) -> str:
    found = re.search(r'<body data-position="(\d+)">', page)
    assert found
    return found[1]


def test_an_update_has_the_new_trials_and_only_comes_if_there_are_any() -> None:
    growing = Growing()
    growing.most = 2
    with serving(Dashboard(growing.load, "one")) as url:
        status, page = get(url)
        assert (status, "Plotly.react" in page, len(growing.study.trials)) == (200, True, 1)
        status, update = get(f"{url}/update?after={position(page)}")
        assert status == 200
        assert "1: 1 complete" in page
        assert "2: 2 complete" in update
        assert "<script>" not in update
        assert len(update) < len(page) / 10
        assert get(f"{url}/update?after={position(update)}") == (204, "")


def test_a_foreign_host_name_and_other_paths_are_refused() -> None:
    with serving(Dashboard(Growing().load, "one")) as url:
        assert get(url, host="evil.example:80")[0] == 403
        assert get(url, host="localhost:1")[0] == 200
        assert get(f"{url}/etc/passwd")[0] == 404


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("/", "[::1", 403),
        ("/", "localhost@evil.example", 403),
        ("/", "localhost:x", 403),
        ("/", "", 403),
        ("http://[::1/", "localhost", 404),
        ("//[", "localhost", 404),
        ("/?after=[", "localhost", 200),
    ],
)
def test_malformed_requests_are_answered(
    target: str, host: str, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving(Dashboard(Growing().load, "one")) as url:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
        connection.putrequest("GET", target, skip_host=True)
        connection.putheader("Host", host)
        connection.endheaders()
        assert connection.getresponse().status == status
        connection.close()
    assert capfd.readouterr().err == ""


def test_a_browser_that_closes_its_connection_is_no_error(capfd: pytest.CaptureFixture[str]) -> None:
    """A browser does so when it is closed or reloads before the page has arrived."""
    asked, may_answer = threading.Event(), threading.Event()
    growing = Growing()

    def load() -> History:
        asked.set()
        assert may_answer.wait(30)
        return growing.load()

    dashboard = Dashboard(load, "one")
    dashboard.daemon_threads = False  # so that closing the server waits for the answer
    with serving(dashboard):
        client = socket.create_connection(("127.0.0.1", dashboard.server_port))
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert asked.wait(30)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close with a reset
        client.close()
        may_answer.set()
    assert capfd.readouterr().err == ""


def test_a_store_that_cannot_be_read_is_told_in_the_page() -> None:
    def load() -> History:
        raise StoreError("There is no hpt.db.")

    with serving(Dashboard(load, "one")) as url:
        assert get(f"{url}/update?after=3") == (503, "The study cannot be read: There is no hpt.db.")


def test_names_are_escaped() -> None:
    growing = Growing()
    with serving(Dashboard(growing.load, EVIL)) as url:
        page = get(url)[1]
    assert "<script>document.title" not in page


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
def test_a_page_in_a_browser_follows_the_study(tmp_path: Path) -> None:
    growing = Growing()
    flags = [*FLAGS, f"user-data-dir={tmp_path / 'profile'}", "dump-dom"]
    with serving(Dashboard(growing.load, "a study")) as url:
        command = [str(CHROMIUM), *(f"--{flag}" for flag in flags), "--virtual-time-budget=120000", url]
        dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert "<title>a study</title>" in dom
    assert "5: 5 complete" in dom
    assert len(re.findall(r"<td>complete</td>", dom)) == 5
    assert 'class="main-svg"' in dom.split('aria-label="Optimisation history"')[1].partition("</figure>")[0]
    assert re.search(r'<p id="live">Live\. Last checked at', dom)


class Browser:
    """A Chromium that shows a page, driven through its debugging pipe."""

    def __init__(self, commands: IO[bytes], answers: IO[bytes]) -> None:
        self._commands, self._answers, self._sent = commands, answers, 0

    def call(self, method: str, session: str | None = None, **params: Any) -> Any:
        """Call a method of the DevTools protocol."""
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": params} | ({"sessionId": session} if session else {})
        self._commands.write(json.dumps(message).encode() + b"\0")
        while True:
            text = b""
            while not text.endswith(b"\0"):
                byte = self._answers.read(1)
                assert byte, "Chromium has ended"
                text += byte
            answer = json.loads(text[:-1])
            if answer.get("id") == self._sent:
                return answer["result"]

    def open(self, url: str) -> Callable[[str], Any]:
        """Open a page. Returns a function that evaluates an expression there."""
        target = self.call("Target.createTarget", url=url)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

        def evaluate(expression: str) -> Any:
            options = {"returnByValue": True, "awaitPromise": True}
            return self.call("Runtime.evaluate", session, expression=expression, **options)["result"].get("value")

        return evaluate


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    flags = [*FLAGS, "remote-debugging-pipe", f"user-data-dir={tmp_path / 'profile'}"]
    commands_read, commands_write = os.pipe()
    answers_read, answers_write = os.pipe()
    script = f'exec "$@" 3<&{commands_read} 4>&{answers_write}'
    with (
        os.fdopen(commands_write, "wb", buffering=0) as commands,
        os.fdopen(answers_read, "rb") as answers,
        subprocess.Popen(
            ["bash", "-c", script, "bash", str(CHROMIUM), *(f"--{flag}" for flag in flags)],
            pass_fds=(commands_read, answers_write),
            stderr=subprocess.DEVNULL,
        ) as process,
    ):
        os.close(commands_read)
        os.close(answers_write)
        try:
            yield Browser(commands, answers)
        finally:
            process.terminate()


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
def test_an_update_keeps_the_zoom_and_the_place_on_the_page(browser: Browser) -> None:
    growing = Growing()
    growing.most = 30
    while len(growing.study.trials) < growing.most:
        growing.load()
    with serving(Dashboard(growing.load, "a study")) as url:
        evaluate = browser.open(url)
        deadline = time.monotonic() + 50
        while not evaluate("document.querySelector('figure .main-svg') !== null"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        growing.most = 31
        evaluate("void Plotly.relayout(document.querySelector('figure'), {'xaxis.range': [5, 20]})")
        evaluate("scrollTo(0, document.body.scrollHeight)")
        place = evaluate("scrollY")
        evaluate("follow()")
        assert evaluate("document.body.textContent.includes('31: 31 complete')")
        assert evaluate("scrollY") == place > 0
        assert evaluate("document.querySelector('figure')._fullLayout.xaxis.range") == [5, 20]


@pytest.fixture
def store(tmp_path: Path) -> str:
    place = f"sqlite:///{tmp_path / 'hpt.db'}"
    study = Study({"x": Float(0, 1)}, sampler="random", seed=0, name="one", store=place)
    study.run(lambda params: params["x"], trials=3)
    study.close()
    return place


def test_the_command_serves_until_it_is_interrupted(store: str) -> None:
    command = [sys.executable, "-m", "hpt_core", "dashboard", "--store", store, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ) as server:
        assert server.stderr is not None
        found = re.fullmatch(
            r"The dashboard is at (http://127\.0\.0\.1:\d+/) until Ctrl-C\.\n", server.stderr.readline()
        )
        assert found
        assert "3: 3 complete" in get(found[1])[1]
        server.send_signal(signal.SIGINT)
        assert server.stderr.read().strip() == ""
    assert server.returncode == 0


def test_mistakes_are_told_before_it_serves(store: str, tmp_path: Path) -> None:
    missing = CliRunner().invoke(hpt, ["dashboard", "--store", str(tmp_path / "none.db")], prog_name="hpt")
    assert missing.exit_code == 4
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        found = CliRunner().invoke(hpt, ["dashboard", "--store", store, "--port", port], prog_name="hpt")
    assert found.exit_code == 2
    assert f"Port {port} cannot be used: Address already in use. Choose another one with --port." in found.stderr
