"""A reader that asks for a stream and then never reads it."""

import hashlib
import re
import socket
import time
from typing import Self
from urllib.parse import unquote, urljoin, urlsplit


class NeverReads:
    """Plays the video of an address over TCP, with digest authentication, and reads no packet.

    Entering it raises a ConnectionError where the server does not let it play.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 554
        self._login = unquote(parts.username or ""), unquote(parts.password or "")
        self._address = f"{parts.scheme}://{self._host}:{self._port}{parts.path}"
        self._challenge: dict[str, str] = {}
        self._session = ""
        self._number = 0
        self._link = socket.socket()

    def __enter__(self) -> Self:
        try:
            self._play()
        except BaseException:
            self._link.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._link.close()

    def hung_up(self, seconds: float) -> bool:
        """Read at last, for so long; whether the server had ended the link."""
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                if not self._link.recv(65_536):
                    return True
        except ConnectionError:
            return True
        except TimeoutError:
            pass
        return False

    def _play(self) -> None:
        # Little room to hide what is not read.
        self._link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._link.settimeout(10)
        self._link.connect((self._host, self._port))
        head, body = self._ask("DESCRIBE", self._address, Accept="application/sdp")
        base = _field(head, "Content-Base") or self._address + "/"
        control = re.search(r"m=video.*?a=control:(\S+)", body, re.DOTALL)
        if control is None:
            raise ConnectionError("the server describes no video")
        how = "RTP/AVP/TCP;unicast;interleaved=0-1"
        head, _ = self._ask("SETUP", urljoin(base, control[1]), Transport=how)
        self._session = _field(head, "Session").partition(";")[0]
        self._ask("PLAY", base, Range="npt=0.000-")

    def _ask(self, method: str, address: str, **fields: str) -> tuple[str, str]:
        for _ in range(2):
            self._number += 1
            lines = [f"{method} {address} RTSP/1.0", f"CSeq: {self._number}"]
            lines += [f"{name}: {value}" for name, value in fields.items()]
            lines += [f"Session: {self._session}"] if self._session else []
            lines += [self._answered(method, address)] if self._challenge else []
            self._link.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
            head, body = self._answer()
            status = head.split()[1]
            if status == "200":
                return head, body
            if status != "401" or self._challenge:
                break
            digest = next(line for line in head.splitlines() if "digest" in line.lower())
            self._challenge = dict(re.findall(r'(\w+)="([^"]*)"', digest))
        raise ConnectionError(f"{method} got {head.splitlines()[0]}")

    def _answer(self) -> tuple[str, str]:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._received()
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(_field(head.decode(), "Content-Length") or 0)
        while len(body) < length:
            body += self._received()
        return head.decode(), body.decode(errors="replace")

    def _received(self) -> bytes:
        # One byte at a time, as packets may follow the answer.
        data = self._link.recv(1)
        if not data:
            raise ConnectionError("the server closed the link")
        return data

    def _answered(self, method: str, address: str) -> str:
        user, password = self._login
        realm, nonce = self._challenge["realm"], self._challenge["nonce"]
        secret = _md5(f"{user}:{realm}:{password}")
        response = _md5(f"{secret}:{nonce}:{_md5(f'{method}:{address}')}")
        return (
            f'Authorization: Digest username="{user}", realm="{realm}", nonce="{nonce}", '
            f'uri="{address}", response="{response}"'
        )


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def _field(head: str, name: str) -> str:
    found = re.search(rf"(?im)^{name}:\s*(.*?)\s*$", head)
    return found[1] if found else ""
