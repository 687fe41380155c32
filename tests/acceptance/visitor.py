"""What acceptance tests do and look at from outside: sessions of any configuration, books, sandboxes, memory."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import httpx2
import psutil

from rlmweb.bench.outside import log_faults, wait_until
from rlmweb.bench.suites.steps import Client
from rlmweb.boot.stack import Stack
from sandboxes import aio
from sandboxes.contract import SandboxInfo
from sandboxes.providers.local import LocalProvider

Plain = dict[str, Any]
RESERVED = """
SELECT m.lm_calls_reserved, m.tokens_reserved, m.cost_reserved_micro_usd
FROM runs_sessionmeter m JOIN runs_session s ON s.id = m.session_id WHERE s.uuid::text = %s
"""
OPEN = """
SELECT what, number, o.status FROM runs_session s, LATERAL (
    SELECT 'node' AS what, number, status FROM runs_node WHERE session_id = s.id AND status = 'running'
    UNION ALL SELECT 'step', number, status FROM runs_step
        WHERE session_id = s.id AND status IN ('ready', 'running', 'waiting')
    UNION ALL SELECT 'call', number, status FROM runs_lmcall WHERE session_id = s.id AND status = 'started'
) o WHERE s.uuid::text = %s
"""
COUNT = """
SELECT count(*) FROM runs_event e JOIN runs_session s ON s.id = e.session_id WHERE s.uuid::text = %s AND e.type = %s
"""


def cell(code: str) -> str:
    """A reply with one cell."""
    return f"```repl\n{code.strip()}\n```"


def turn(step: int | None, code: str, **then: Any) -> Plain:
    """A rule: the reply to a turn, of one step or of all."""
    when = {"kind": "turn"} if step is None else {"kind": "turn", "step": step}
    return {"when": when, "reply": cell(code), **then}


def scripted(*rules: Plain, default: str = "(scripted)") -> Plain:
    """A scripted model that follows `rules`."""
    script = {"rules": list(rules), "default": {"reply": default}}
    return {"api": "scripted", "model": "scripted:inline", "extra": {"script": script}}


def at_endpoint(url: str, retry: Plain | None = None, *, api: str = "openai", **fields: Any) -> Plain:
    """A model behind an HTTP endpoint."""
    return {"api": api, "model": "m-1", "base_url": url, "extra": {"retry": retry or {}}, **fields}


class Visitor(Client):
    """A client of the stack under test."""

    stack: Stack

    @classmethod
    def of(cls, stack: Stack) -> Visitor:
        visitor = cls(stack.address, stack.token, stack.database_url)
        object.__setattr__(visitor, "stack", stack)  # the base is frozen: its fields are what identifies it
        return visitor

    # Sessions -------------------------------------------------------------------------------------------------------

    def store_key(self, name: str, *, base_url: str, key: str) -> str:
        """Store a key of the team on the page for it, as a person does; gives its uuid."""
        with httpx2.Client(base_url=self.address, follow_redirects=True, timeout=30) as browser:
            browser.get(f"/open/{self.token}/").raise_for_status()
            (team,) = self.rows("SELECT slug FROM teams_team ORDER BY id LIMIT 1")[0]
            fields = {"team": team, "name": name, "api": "openai", "base_url": base_url, "key": key}
            browser.get("/keys/").raise_for_status()
            fields["csrfmiddlewaretoken"] = browser.cookies["rlmweb_csrf"]
            browser.post("/keys/", data=fields).raise_for_status()
        found = self.call("GET", "/models")["credentials"]
        return next(str(credential["uuid"]) for credential in found if credential["name"] == name)

    def context(self, text: str = "one\ntwo\nthree\n", **fields: Any) -> str:
        return str(self.call("POST", "/contexts", {"text": text, **fields})["uuid"])

    def upload(self, data: bytes, name: str, *, kind: str = "") -> Plain:
        """A file in one request."""
        query = urllib.parse.urlencode({"name": name, "kind": kind})
        return self._send("PUT", f"/contexts/upload?{query}", data)

    def upload_in_parts(self, chunks: Iterable[bytes], size_bytes: int, name: str) -> Plain:
        """A file of any size, as the page uploads it."""
        begun = self.call("POST", "/contexts/uploads", {"name": name, "size_bytes": size_bytes})
        ticket = {"Upload-Ticket": begun["ticket"]}
        offset, part = 0, b""
        for chunk in chain(chunks, [b""]):
            part += chunk
            while len(part) >= begun["part_bytes"] or (part and not chunk):
                sent, part = part[: begun["part_bytes"]], part[begun["part_bytes"] :]
                self._send("PUT", f"/contexts/uploads/part?offset={offset}", sent, ticket)
                offset += len(sent)
        return self._send("POST", "/contexts/uploads/finish", b"", ticket)

    def announce(self, path: str, size_bytes: int) -> int:
        """Say, as nobody in particular, that a body of this size comes; the status of the answer."""
        with socket.create_connection(self._place, timeout=60) as wire:
            wire.sendall(f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size_bytes}\r\n\r\n".encode())
            return int(wire.recv(64).split(b" ")[1])

    def pour(self, path: str, chunks: Iterable[bytes]) -> int:
        """Send a body of no known size until the server hangs up; how many bytes it let us send."""
        sent_bytes = 0
        with socket.create_connection(self._place, timeout=60) as wire:
            wire.sendall(f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
            for chunk in chunks:
                try:
                    wire.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                except ConnectionError:
                    break
                sent_bytes += len(chunk)
        return sent_bytes

    @property
    def _place(self) -> tuple[str, int]:
        host, port = self.address.removeprefix("http://").split(":")
        return host, int(port)

    def _send(self, method: str, path: str, data: bytes, headers: Mapping[str, str] | None = None) -> Plain:
        """`call` with a body that is not JSON."""
        request = urllib.request.Request(f"{self.address}/api/v1{path}", data=data, method=method)  # noqa: S310
        for name, value in {"Authorization": f"Bearer {self.token}", **(headers or {})}.items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=120) as response:  # noqa: S310
                found: Plain = json.load(response)
        except urllib.error.HTTPError as error:
            error.add_note(error.read().decode("utf-8", "replace")[:2000])
            raise
        return found

    def begin(
        self, root: Plain, *, sub: Plain | None = None, context: str = "", question: str = "?", **limits: Any
    ) -> str:
        config: Plain = {"root": root, "limits": limits} | ({"sub": sub} if sub else {})
        body = {"question": question, "context": context or self.context(), "config": config}
        return str(self.call("POST", "/sessions", body)["uuid"])

    def session(self, uuid: str) -> Plain:
        found: Plain = self.call("GET", f"/sessions/{uuid}")
        return found

    def ended(self, uuid: str, timeout_s: float = 60) -> Plain:
        """The session once it is over, after a look at its log and books."""
        self.wait_for([uuid], timeout_s)
        assert self.faults(uuid) == []
        return self.session(uuid)

    def faults(self, uuid: str) -> list[str]:
        """What a session that is over has left in disorder: its log, its reservations, its steps and calls."""
        faults = log_faults(self.events(uuid))
        (reserved,) = self.rows(RESERVED, uuid)
        if any(reserved):
            faults.append(f"calls, tokens and costs are still reserved: {reserved}")
        return faults + [f"{what} {number} is still {status}" for what, number, status in self.rows(OPEN, uuid)]

    def count(self, uuid: str, kind: str) -> int:
        """How many events of `kind` there are so far."""
        return int(self.rows(COUNT, uuid, kind)[0][0])

    def wait_for_events(self, uuid: str, kind: str, least: int = 1, timeout_s: float = 30) -> None:
        wait_until(f"{least} times {kind}", lambda: self.count(uuid, kind) >= least, timeout_s)

    def output(self, uuid: str) -> str:
        """What the session's cells wrote, as far as its events hold it themselves."""
        texts = [event["text"] for event in self.events(uuid) if event["type"] == "cell.output"]
        return "".join(text if isinstance(text, str) else text["head"] + text["tail"] for text in texts)

    def goes_on(self) -> None:
        """The next session is unharmed: it answers, in a sandbox of its own."""
        uuid = self.begin(scripted(turn(None, "answer['content'] = len(context); answer['ready'] = True")))
        assert self.ended(uuid, 30)["answer"] == "14"

    # Processes ------------------------------------------------------------------------------------------------------

    def sandboxes(self, labels: Mapping[str, str]) -> Sequence[SandboxInfo]:
        """What the sandbox service itself says is there."""

        async def ask() -> Sequence[SandboxInfo]:
            provider = LocalProvider(Path(self.stack.environment["RLMWEB_LOCAL_SANDBOX_SOCKET"]), autostart=False)
            try:
                return await provider.list(labels)
            finally:
                await provider.close()

        return aio.run(ask(), timeout_s=30)

    def wait_for_no_sandbox(self, uuid: str, timeout_s: float = 30) -> None:
        """Until the service has no sandbox of this session any more."""
        wait_until("its sandboxes end", lambda: not self.sandboxes({"session": uuid}), timeout_s)

    def memory_mb(self, name: str) -> float:
        """Resident memory of one process of the stack."""
        return float(psutil.Process(self._pid(name)).memory_info().rss / 1e6)

    def forget_peaks(self, *names: str) -> dict[str, float]:
        """Let the peaks of these processes begin at their present memory, which is returned in MB."""
        for name in names:
            Path(f"/proc/{self._pid(name)}/clear_refs").write_text("5")
        return {name: self.memory_mb(name) for name in names}

    def peak_mb(self, name: str) -> float:
        """The most resident memory that the process had since `forget_peaks`."""
        status = Path(f"/proc/{self._pid(name)}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6

    def _pid(self, name: str) -> int:
        pid = self.stack.children[name].pid
        assert pid is not None
        return pid
