"""What the recorders of scripts/e2e/filters wrote down, brought into a form
that can be compared.
"""
import os
import re
import shutil
import subprocess

from holdfast import ROOT, Failure, expect, wait_for

FILTERS = os.path.join(ROOT, "scripts", "e2e", "filters")
HOST = "mx.holdfast.example"


def install(folder, where="filters"):
    """Copies the filters to where every user can run them, and compiles the
    one in C; {name: path}."""
    where = os.path.join(folder, where)
    os.makedirs(where, exist_ok=True)
    os.chmod(where, 0o755)
    found = {}
    for name in sorted(os.listdir(FILTERS)):
        path = os.path.join(where, name)
        if name.endswith(".txt"):
            continue
        if name.endswith(".c"):
            path = path[:-2]
            run = subprocess.run(
                ["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE",
                 "-o", path, os.path.join(FILTERS, name)],
                stderr=subprocess.PIPE, text=True)
            if run.returncode != 0:
                raise Failure("cc: " + run.stderr)
        else:
            shutil.copy2(os.path.join(FILTERS, name), path)
        os.chmod(path, 0o755)
        found[name] = path
    return found


class Record:
    """The file that a recorder writes."""

    def __init__(self, folder, name="record"):
        self.path = os.path.join(folder, name)
        open(self.path, "a").close()
        os.chmod(self.path, 0o666)

    def lines(self):
        with open(self.path, encoding="latin-1", newline="\n") as f:
            text = f.read()
        return text[:text.rfind("\n") + 1].split("\n")[:-1]

    def clear(self):
        os.truncate(self.path, 0)

    def count(self, pattern):
        return sum(1 for line in self.lines() if re.search(pattern, line))

    def wait(self, pattern, count=1, seconds=30):
        """Until `count` lines match."""
        wait_for(lambda: self.count(pattern) >= count, seconds,
                 "%d lines like %r in\n%s" % (
                     count, pattern, "\n".join(self.lines()[-20:])))
        return self

    def sessions(self, way):
        found = []
        for line in self.lines():
            fields = line[2:].split("|")
            if fields[0] in ("report", "filter") and len(fields) > 5 and \
                    fields[3] == way and fields[5] not in found:
                found.append(fields[5])
        return found

    def of(self, session):
        """What was said about one session, both ways."""
        chosen = []
        for line in self.lines():
            fields = line[2:].split("|")
            at = 1 if fields[0] in ("filter-result", "filter-dataline") else 5
            if len(fields) > at and fields[at] == session:
                chosen.append(line)
        return chosen

    def session_with(self, way, pattern):
        """Lines of the first session in which one matches."""
        for session in self.sessions(way):
            lines = self.of(session)
            if any(re.search(pattern, line) for line in lines):
                return lines
        raise Failure("no session of %s with %r in\n%s" % (
            way, pattern, "\n".join(self.lines()[-40:])))


class Names:
    """S1, S2, ... for what differs from run to run, in order of appearance."""

    def __init__(self):
        self.known = {}

    def name(self, kind, value):
        names = self.known.setdefault(kind, {})
        return names.setdefault(value, kind + str(len(names) + 1))


def normal(lines, hostname=HOST):
    """The lines without times, ids, tokens, ports and sizes."""
    names = Names()
    done = []
    messages = []
    for line in lines:
        sign, text = line[:2], line[2:]
        fields = text.split("|")
        if fields[0] in ("report", "filter") and len(fields) > 5:
            expect(re.fullmatch(r"[0-9]+\.[0-9]{6}", fields[2]), "a time", line)
            expect(re.fullmatch(r"[0-9a-f]{16}", fields[5]), "a session", line)
            fields[2] = "TIME"
            fields[5] = names.name("S", fields[5])
            if fields[0] == "filter":
                expect(re.fullmatch(r"[0-9a-f]{16}", fields[6]), "a token",
                       line)
                fields[6] = names.name("T", fields[6])
            elif fields[4].startswith("tx-"):
                expect(re.fullmatch(r"[0-9a-f]{8}", fields[6]), "a message",
                       line)
                if fields[6] not in messages:
                    messages.append(fields[6])
                if fields[4] == "tx-envelope":
                    expect(fields[7].startswith(fields[6]) and
                           re.fullmatch(r"[0-9a-f]{16}", fields[7]),
                           "an envelope", line)
                    fields[7] = names.name("E", fields[7])
                if fields[4] == "tx-commit":
                    fields[7] = "SIZE"
        elif fields[0] in ("filter-result", "filter-dataline"):
            fields[1] = names.name("S", fields[1])
            fields[2] = names.name("T", fields[2])
        text = "|".join(fields)
        for number, message in enumerate(messages):
            text = text.replace(message, "M%d" % (number + 1))
        text = re.sub(r"(127\.0\.0\.\d+|\[::1\]):\d+", r"\1:PORT", text)
        text = re.sub(r"\|220 (\S+) ESMTP .*", r"|220 \1 ESMTP SERVER", text) \
            if "smtp-in" in text else text
        done.append(sign + text.replace(hostname, "HOST"))
    return done


def without_keywords(lines):
    """Without the lines of EHLO's reply but the first."""
    done = []
    inside = False
    for line in lines:
        fields = line.split("|")
        event = fields[4] if len(fields) > 4 else ""
        if event == "link-identify":
            inside = True
            first = True
        elif inside and event == "protocol-server":
            if not first:
                continue
            first = False
        else:
            inside = False
        done.append(line)
    return done


def text_and_rest(lines):
    """(data lines as they came, data lines as they went back, all else)."""
    there, back, rest = [], [], []
    for line in lines:
        fields = line[2:].split("|")
        if fields[0] == "filter" and fields[4] == "data-line":
            there.append("|".join(fields[7:]))
        elif fields[0] == "filter-dataline":
            back.append("|".join(fields[3:]))
        else:
            rest.append(line)
    return there, back, rest
