"""A milter of the tests' own: Sendmail's milter protocol from the other side,
written by hand."""
import contextlib
import os
import socket
import struct
import threading
import time

from holdfast import OPEN, free_port, wait_for

COMMANDS = {"O": "negotiate", "C": "connect", "H": "helo", "M": "mail",
            "R": "rcpt", "T": "data", "L": "header", "N": "eoh", "B": "body",
            "E": "eom", "A": "abort", "Q": "quit", "U": "unknown"}
ALL_ACTIONS = 0x1ff
# Which of the steps a milter may ask not to be told, or not to answer.
NO_BODY, SKIP, LEADING_SPACE = 0x10, 0x400, 0x100000
NO_ANSWERS = 0x80 | 0xff000
SILENT = ("abort", "quit")


def packet(code, data=b""):
    return struct.pack(">I", len(data) + 1) + code.encode() + data


def text(*words):
    return b"".join((w if isinstance(w, bytes) else w.encode()) + b"\0"
                    for w in words)


CONTINUE, ACCEPT, REJECT, TEMPFAIL, DISCARD = (packet(c) for c in "cartd")
SKIP_REST, SHUTDOWN, CONN_FAIL, PROGRESS = (packet(c) for c in "s4fp")


def reply(words):
    return packet("y", text(words))


def add_header(name, value):
    return packet("h", text(name, value))


def insert_header(index, name, value):
    return packet("i", struct.pack(">I", index) + text(name, value))


def change_header(index, name, value):
    return packet("m", struct.pack(">I", index) + text(name, value))


def replace_body(data):
    return b"".join(packet("b", data[i:i + 65535])
                    for i in range(0, len(data), 65535))


def change_sender(address, *parameters):
    return packet("e", text(address, *parameters))


def add_recipient(address, *parameters):
    return packet("2" if parameters else "+", text(address, *parameters))


def remove_recipient(address):
    return packet("-", text(address))


def quarantine(why):
    return packet("q", text(why))


class Conversation:
    """What one connection has heard."""

    def __init__(self):
        self.told = []      # (command, data), without macros
        self.macros = {}    # {command: {name: value}}, the last
        self.closed = False

    def commands(self):
        return [command for command, _ in self.told]

    def last(self, command):
        return [data for name, data in self.told if name == command][-1]

    def headers(self):
        return [tuple(data.split(b"\0")[:2]) for name, data in self.told
                if name == "header"]

    def body(self):
        return b"".join(data for name, data in self.told if name == "body")


class Milter:
    """`answers`: {command: bytes to send | "hang" | "close" | a list of bytes,
    with 0.6 s between them}, or a function that makes one; what is not there
    is continued.  May change at any time.  Listens on `socket`, a word
    for smtpd.conf."""

    def __init__(self, answers=None, steps=0, actions=ALL_ACTIONS, version=6,
                 macros=b"", path=None):
        self.answers = dict(answers or {})
        self.options = struct.pack(">III", version, actions, steps) + macros
        self.steps = steps
        self.conversations = []
        if path:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(path)
            self.socket = "unix:" + path
        else:
            port = free_port()
            self.listener = socket.create_server(("127.0.0.1", port))
            self.socket = "inet:%d@127.0.0.1" % port
        self.listener.listen(50)
        self.released = threading.Event()
        OPEN.append(self)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                one = Conversation()
                self.conversations.append(one)
                threading.Thread(target=self.serve, args=(client, one),
                                 daemon=True).start()

    def serve(self, client, one):
        with contextlib.suppress(OSError), client, \
                client.makefile("rb") as stream:
            while True:
                head = stream.read(4)
                if len(head) < 4:
                    break
                data = stream.read(struct.unpack(">I", head)[0])
                code, data = chr(data[0]), data[1:]
                if code == "D":
                    words = data[1:].split(b"\0")[:-1]
                    one.macros[COMMANDS[chr(data[0])]] = {
                        k.decode(): v.decode()
                        for k, v in zip(words[::2], words[1::2])}
                    continue
                one.told.append((COMMANDS[code], data))
                if not self.answer(client, COMMANDS[code], one):
                    break
        one.closed = True

    def answer(self, client, command, one):
        answer = self.answers.get(command)
        if callable(answer):
            answer = answer(one)
        if answer == "close":
            return False
        if answer == "hang":
            self.released.wait(60)
            return False
        if answer is None and command == "negotiate":
            answer = packet("O", self.options)
        elif answer is None:
            quiet = command in SILENT or (command != "eom" and
                                          self.steps & NO_ANSWERS)
            answer = b"" if quiet else CONTINUE
        if not isinstance(answer, list):
            answer = [answer]
        for number, part in enumerate(answer):
            if number > 0:
                time.sleep(0.6)
            client.sendall(part)
        return True

    def conversation(self, number=0):
        wait_for(lambda: len(self.conversations) > number, 10,
                 "connection %d to the milter" % number)
        return self.conversations[number]

    def ended(self, number=0):
        """The same, when it has ended."""
        one = self.conversation(number)
        wait_for(lambda: one.closed, 10, "its end")
        return one

    def close(self):
        self.released.set()
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        if self.socket.startswith("unix:"):
            with contextlib.suppress(OSError):
                os.unlink(self.socket[5:])
