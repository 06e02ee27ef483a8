"""Clients of examples/server.cpp, which is killed with kill -9 again and again: each gets each token once, in order.

    python3 engine/capi/tests/c/server.py SERVER
"""

import random
import signal
import socket
import subprocess
import sys
import tempfile

TOKENS = [f"token-{at}" for at in range(60)]
SEED = 7


class Server:
    def __init__(self, program, directory):
        self.process = subprocess.Popen([program, directory], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"server.py: {program} ended with {self.process.wait()}")
        self.port = int(line)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def request(self, name, last_id=None):
        client = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        resumed = f"Last-Event-ID: {last_id}\r\n" if last_id else ""
        client.sendall(f"GET /completion/{name} HTTP/1.1\r\nHost: localhost\r\n{resumed}\r\n".encode())
        return client


def frames(client):
    """The frames of a response, until the server ends it or dies."""
    buffer = b""
    while True:
        try:
            got = client.recv(4096)
        except ConnectionResetError:
            return
        if not got:
            return
        buffer += got
        while b"\n\n" in buffer:
            block, buffer = buffer.split(b"\n\n", 1)
            lines = block.decode().rpartition("\r\n\r\n")[2].split("\n")
            yield dict(line.split(": ", 1) if ": " in line else (line.rstrip(":"), "") for line in lines)


def complete(server, name, numbers, restart):
    """Follows a completion to its end. The server is killed after a few tokens, or the client breaks off."""
    tokens, last_id, breaks = [], None, 0
    while True:
        patience = numbers.randrange(1, 16)
        with server.request(name, last_id) as client:
            for frame in frames(client):
                if frame.get("event") == "end":
                    return tokens, breaks
                assert "event" not in frame, frame
                if "data" not in frame:
                    continue
                tokens.append(frame["data"])
                last_id = frame["id"]
                patience -= 1
                if patience == 0:
                    breaks += 1
                    if numbers.random() < 0.7:
                        server = restart()
                    break


def main(program):
    numbers = random.Random(SEED)
    with tempfile.TemporaryDirectory(prefix="tapeline-server-") as directory:
        server = Server(program, directory)

        def restart():
            nonlocal server
            server.kill()
            server = Server(program, directory)
            return server

        try:
            for number in range(4):
                tokens, breaks = complete(server, f"chat-{number}", numbers, restart)
                assert tokens == TOKENS, tokens
                assert breaks > 2, breaks
            # A completion that ended is served again, whole.
            assert complete(server, "chat-0", random.Random(SEED), lambda: server)[0] == TOKENS
            with server.request("chat-0", "no token") as client:
                assert client.recv(4096).startswith(b"HTTP/1.1 400"), "a wrong token is refused"
        finally:
            server.kill()
    print("server: each client got each token once")


main(*sys.argv[1:])
