#!/usr/bin/env python3
"""A program of a table for tests (smtpd-tables(7)): answers every service from
a file of JSON and misbehaves as another file tells it to.

The folder is argv[1]: `entries` is {service: {key: value}} (lists of addresses
for services that are fetched), read at the start and by `update`; `mode`, if it
is there, holds one of the words below; what was asked is written to `asked`.
Python's standard library only."""
import json
import os
import signal
import sys
import time

# For services that compare: what a table of a file would find.
CHECKED = ("domain", "netaddr", "mailaddr", "string", "regex", "auth")


class Table:
    def __init__(self, folder):
        self.folder = folder
        self.turn = {}
        self.name = "?"
        self.load()

    def path(self, name):
        return os.path.join(self.folder, name)

    def load(self):
        with open(self.path("entries")) as f:
            self.entries = json.load(f)

    def mode(self):
        try:
            with open(self.path("mode")) as f:
                return f.read().strip()
        except FileNotFoundError:
            return ""

    def note(self, line):
        with open(self.path("asked"), "a") as f:
            f.write(line + "\n")

    def result(self, op, service, key):
        if op == "update":
            try:
                self.load()
            except ValueError:
                return "error|entries make no sense"
            return "ok"
        entries = self.entries.get(service, {})
        if op == "fetch":
            if not entries:
                return "not-found"
            at = self.turn.get(service, 0)
            self.turn[service] = at + 1
            return "found|" + entries[at % len(entries)]
        if key not in entries:
            return "not-found"
        return "found" if op == "check" else "found|" + entries[key]

    def serve(self, line):
        self.note(line)
        head, _, rest = line.partition("|0.1|")
        _, name, op, rest = rest.split("|", 3)
        if head != "table" or name != self.name:
            sys.exit("not for me: " + line)
        service, key = "", ""
        if op == "update":
            number = rest
        elif op == "fetch":
            service, number = rest.split("|")
        else:
            service, number, key = rest.split("|", 2)
        if op != "update" and service not in self.entries:
            sys.exit("never offered " + service)
        self.answer(op, number, self.result(op, service, key))

    def answer(self, op, number, result):
        mode = self.mode()
        if mode == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if mode == "hang":
            time.sleep(3600)
        if mode == "error":
            result = "error|the database is gone"
        if mode == "wrong-id":
            number = "%08x" % (int(number, 16) ^ 1)
        if mode == "empty":
            result = "found|"
        if mode == "other":
            op = "update" if op != "update" else "fetch"
            result = "ok"
        if mode == "garbage":
            return self.say("\x1b[31mno answer\0 at all " + "x" * 3000)
        if mode == "flood":
            while True:
                self.say("%s-result|%s|%s" % (op, number, result))
        if mode == "endless":
            while True:
                self.write("x" * 65536)
        if mode == "silent":
            return None
        return self.say("%s-result|%s|%s" % (op, number, result))

    def say(self, line):
        self.write(line + "\n")

    def write(self, text):
        data = text.encode("utf-8", "surrogateescape")
        while data:
            data = data[os.write(1, data):]

    def run(self):
        for raw in sys.stdin.buffer:
            line = raw.rstrip(b"\n").decode("utf-8", "surrogateescape")
            if line.startswith("config|tablename|"):
                self.name = line.split("|", 2)[2]
            if line == "config|ready":
                sys.stderr.write("hello from %s\n" % self.name)
                sys.stderr.flush()
                if self.mode() == "mute":
                    time.sleep(3600)
                for service in self.entries:
                    self.say("register|" + service)
                self.say("register|ready")
            elif not line.startswith("config|"):
                self.serve(line)


if __name__ == "__main__":
    Table(sys.argv[1]).run()
