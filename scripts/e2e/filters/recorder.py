#!/usr/bin/env python3
"""A filter that hears every event, is asked about every phase and passes on
every line, and writes down what was said: "<" to it, ">" by it.

    recorder.py FILE [WORD=VALUE]...

PHASE=DECISION     what follows the token in a filter-result, such as
                   "reject|550 5.7.1 No"
decisions=FILE     such words, a line each, read again at every question
only=PHASE,...     registers these phases alone
events=EVENT,...   registers these events alone
pid=FILE           writes process, user, group and folder there
text=header:LINE   puts this line before the text
text=late          gives nothing back before the last line
text=drop          gives nothing back but the last line
report=TEXT        says a report of its own after each link-identify
"""
import contextlib
import os
import sys

PHASES = ("connect helo ehlo starttls auth mail-from rcpt-to data data-line "
          "commit rset quit noop").split()


class Recorder:
    def __init__(self, path, words):
        self.words = dict(word.split("=", 1) for word in words)
        self.out = open(1, "w", encoding="latin-1", newline="\n", buffering=1)
        self.record = open(path, "a", encoding="latin-1", newline="\n",
                           buffering=1)
        self.texts = {}

    def say(self, line):
        self.record.write("> %s\n" % line)
        self.out.write(line + "\n")

    def register(self):
        events = self.words.get("events", "*")
        for way in ("smtp-in", "smtp-out"):
            for event in filter(None, events.split(",")):
                self.say("register|report|%s|%s" % (way, event))
        for phase in self.words.get("only", ",".join(PHASES)).split(","):
            if phase:
                self.say("register|filter|smtp-in|" + phase)
        self.say("register|ready")

    def decision(self, phase):
        words = self.words
        if "decisions" in words:
            with contextlib.suppress(OSError):
                with open(words["decisions"]) as f:
                    words = dict(line.rstrip("\n").split("=", 1)
                                 for line in f)
        return words.get(phase, "proceed")

    def text(self, session, token, line):
        """The lines that go back for this one."""
        how = self.words.get("text", "")
        begun = self.texts.setdefault(session, [])
        back = [line]
        if how.startswith("header:") and not begun:
            back = [how[7:], line]
        begun.append(line if how == "late" else "")
        if how == "late":
            back = begun if line == "." else []
        elif how == "drop" and line != ".":
            back = []
        for one in back:
            self.say("filter-dataline|%s|%s|%s" % (session, token, one))
        if line == ".":
            del self.texts[session]

    def hear(self, line):
        self.record.write("< %s\n" % line)
        if line == "config|ready":
            self.register()
            return
        fields = line.split("|", 6) + [""] * 6
        kind, _, when, way, what, session, rest = fields[:7]
        if kind == "filter":
            token, argument = rest.split("|", 1)
            if what == "data-line":
                self.text(session, token, argument)
            else:
                self.say("filter-result|%s|%s|%s" % (session, token,
                                                     self.decision(what)))
        elif what == "link-identify" and way == "smtp-in" and \
                "report" in self.words:
            self.say("report|%s|smtp-in|%s|%s" % (when, session,
                                                  self.words["report"]))

    def run(self):
        if "pid" in self.words:
            with open(self.words["pid"], "w") as f:
                f.write("%d %d %d %s\n" % (os.getpid(), os.getuid(),
                                           os.getgid(), os.getcwd()))
        for line in open(0, encoding="latin-1", newline="\n"):
            self.hear(line[:-1])


if __name__ == "__main__":
    Recorder(sys.argv[1], sys.argv[2:]).run()
