#!/usr/bin/env python3
"""A filter that misbehaves once:  hostile.py FILE WHAT WHEN

WHEN is a phase or an event (the first time it comes), "start" or "ready".
WHAT is a method below.  Once FILE is there it has been done, and the filter
lets everything pass.  FILE.ready is there once it has registered.
"""
import os
import signal
import sys
import time

PHASES = ("connect helo ehlo starttls auth mail-from rcpt-to data data-line "
          "commit rset quit noop").split()
BLOCK = 1 << 16


class Hostile:
    def __init__(self, flag, what, when):
        self.flag, self.when = flag, when
        self.act = getattr(self, what.replace("-", "_"))
        self.source = os.fdopen(0, "rb")
        self.asked = None    # (phase, session, token)

    def say(self, text):
        data = text.encode() + b"\n"
        while data:
            data = data[os.write(1, data):]

    def reply(self, decision="proceed", session=None, token=None):
        phase, its, own = self.asked
        kind = "dataline" if phase == "data-line" else "result"
        if phase == "data-line" and decision == "proceed":
            decision = "text"
        self.say("filter-%s|%s|%s|%s" % (kind, session or its, token or own,
                                         decision))

    # What it does.  True: then goes on as if nothing had been.

    def exit(self):
        os._exit(1)

    def exit0(self):
        os._exit(0)

    def kill(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def close(self):
        """Alive, but its pipe is closed."""
        os.close(0)
        os.close(1)
        self.deaf()

    def deaf(self):
        """Neither reads nor answers any more."""
        while True:
            time.sleep(60)

    def mute(self):
        """Reads on, but never answers again."""
        while self.source.readline():
            pass

    def garbage(self):
        self.say(os.urandom(200).replace(b"\n", b"").decode("latin-1"))

    def zeros(self):
        self.say("\0" * 100)

    def empty_line(self):
        self.say("")

    def unknown_word(self):
        self.say("filter-wish|1|2|proceed")

    def endless_line(self):
        while True:
            os.write(1, b"x" * BLOCK)

    def flood(self):
        line = b"filter-result|0123456789abcdef|0123456789abcdef|proceed\n"
        while True:
            os.write(1, line * 1000)

    def flood_reports(self):
        line = ("report|1.000000|smtp-in|%s|again and again\n" % (
            self.asked or ["", "0123456789abcdef"])[1]).encode()
        while True:
            os.write(1, line * 1000)

    def flood_errors(self):
        while True:
            os.write(2, b"an error of mine\n" * 1000)

    def flood_text(self):
        """A message without end."""
        self.reply("Subject: flood")
        self.reply("")
        self.flood_header()

    def flood_header(self):
        """No header, and no end of it."""
        _, session, token = self.asked
        line = "filter-dataline|%s|%s|%s\n" % (session, token, "x" * 900)
        while True:
            os.write(1, line.encode() * 50)

    def flood_line(self):
        """A line of text that never ends."""
        os.write(1, ("filter-dataline|%s|%s|" % self.asked[1:]).encode())
        self.endless_line()

    def twice(self):
        phase, session, token = self.asked
        text = "text" if phase == "data-line" else "proceed"
        line = "filter-%s|%s|%s|%%s" % (
            "dataline" if phase == "data-line" else "result", session, token)
        # In one write: the session must not be over before the second.
        self.say("\n".join([line % text,
                            line % "reject|550 5.7.1 The other way"]))
        return False

    def foreign(self):
        """Answers for a session that is not its own."""
        self.reply(session="0123456789abcdef")

    def wrong_token(self):
        self.reply(token="0123456789abcdef")

    def unasked(self):
        """Answers a question that was never put."""
        self.say("filter-result|%s|%s|proceed" % (self.asked[1], "f" * 16))

    def bad_session(self):
        self.reply(session="not-a-session")

    def text_for_result(self):
        self.say("filter-dataline|%s|%s|text" % self.asked[1:])

    def result_for_text(self):
        self.say("filter-result|%s|%s|proceed" % self.asked[1:])

    def no_decision(self):
        self.say("filter-result|%s|%s" % self.asked[1:])

    def no_such_decision(self):
        self.reply("perhaps")

    def junk(self):
        self.reply("junk")

    def after_the_end(self):
        """More text behind the last line."""
        for text in ("some", ".", "more", "."):
            self.reply(text)

    def no_reply(self):
        self.reply("reject|")

    def reply_of_lines(self):
        self.reply("reject|550 5.7.1 one\r")

    def register_event(self):
        self.say("register|report|smtp-in|link-broken")

    def register_phase(self):
        self.say("register|filter|smtp-in|never")

    def register_out(self):
        self.say("register|filter|smtp-out|connect")

    def register_twice(self):
        self.say("register|ready")

    def not_ready(self):
        """Says something else than registrations before it is ready."""
        self.say("filter-result|0123456789abcdef|0123456789abcdef|proceed")

    # --- the filter around it

    def now(self, when):
        """True: the line is dealt with."""
        if when != self.when or os.path.exists(self.flag):
            return False
        with open(self.flag, "w") as f:
            f.write("%d\n" % os.getpid())
        return self.act() is not True

    def run(self):
        self.now("start")
        for line in self.source:
            line = line[:-1].decode("latin-1")
            if line == "config|ready":
                self.say("register|report|smtp-in|*")
                self.say("register|report|smtp-out|*")
                for phase in PHASES:
                    self.say("register|filter|smtp-in|" + phase)
                if not self.now("ready"):
                    self.say("register|ready")
                open(self.flag + ".ready", "w").close()
                continue
            fields = line.split("|", 7) + [""] * 7
            if fields[0] == "report":
                self.asked = ("", fields[5], "")
                self.now(fields[4])
            elif fields[0] == "filter":
                self.asked = (fields[4], fields[5], fields[6])
                if not self.now(fields[4]):
                    self.reply(fields[7] if fields[4] == "data-line"
                               else "proceed")


if __name__ == "__main__":
    Hostile(*sys.argv[1:]).run()
