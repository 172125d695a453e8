#!/usr/bin/env python3
"""Hostile next hops: what a scripted server says or does at each stage of a
session, and what must become of the mail.  The numbers (C1 to C6) are those of
the threat catalogue.  Every case has a host, an action and a domain of its own,
so that one case's broken route is nobody else's."""
import contextlib
import email
import email.policy
import os
import re
import socket
import struct
import sys
import threading
import time

sys.dont_write_bytecode = True
from holdfast import (Server, Smtp, expect, expect_equal,      # noqa: E402
                      free_port, run_tests, wait_for)

TEXT = b"From: <s@inside.example>\r\nSubject: x\r\n\r\nHello.\r\n.A dot.\r\n"
SENDER = "s@inside.example"

CLOSE = "close"
RESET = "reset"
ANSWERS = {
    "4xx": b"451 4.3.0 not now\r\n",
    "5xx": b"554 5.7.1 never\r\n",
    "421": b"421 4.3.2 going down\r\n",
    "close": CLOSE,
    "reset": RESET,
    "junk": b"hello there\r\n",
    "short": b"25\r\n",
    "empty": b"\r\n",
    "nul": b"554 5.7.1 a\0b\r\n",
    "escape": b"554 5.7.1 \x1b[2J\x07\xff<b> \"q\" \\\r\n",
    "999": b"999 what\r\n",
    "1xx": b"150 wait\r\n",
    "mixed": b"250-one\r\n554 two\r\n",
    "folded": b"554-5.7.1 No such\r\n554 5.7.1 user here\r\n",
    "longline": b"554 " + b"x" * 5000 + b"\r\n",
    "longtext": b"".join(b"554-5.7.1 " + b"y" * 900 + b"\r\n"
                         for _ in range(60)) + b"554 5.7.1 end\r\n",
    "endless": b"554-more\r\n" * 5000,
    "bare-lf": b"554 5.7.1 never\n",
    "twice": b"250 ok\r\n250 ok\r\n",
}
PERMANENT = {"5xx", "escape", "folded", "longtext", "bare-lf"}
LISTING = b"250-sink.example\r\n250-DSN\r\n250-PIPELINING\r\n250 SIZE 99000000\r\n"
PLAIN = b"250-sink.example\r\n250 SIZE 99000000\r\n"


class Host:
    """A listening server that follows a script {stage: answer}; an answer is
    bytes, CLOSE, RESET, or a function of the connection."""

    made = 0

    def __init__(self, script, pipelining=False):
        self.script = dict(script)
        self.pipelining = pipelining
        self.connections = 0
        self.commands = []
        self.messages = []
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # An address of its own: routes are known by address.
        Host.made += 1
        self.address = "127.7.%d.%d" % (Host.made // 200, Host.made % 200 + 1)
        self.port = free_port()
        self.listener.bind((self.address, self.port))
        if self.script.get("connect") == "refused":
            self.listener.close()
            return
        self.listener.listen(64)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(connection,),
                             daemon=True).start()

    def serve(self, connection):
        with contextlib.suppress(OSError, StopIteration, ValueError):
            with connection:
                connection.settimeout(60)
                self.dialogue(connection, connection.makefile("rb"))

    def say(self, connection, stage, usual):
        answer = self.script.get(stage, usual)
        if isinstance(answer, list):    # one for each time
            answer = answer.pop(0) if answer else usual
        if callable(answer):
            answer = answer(connection)
        if answer == RESET:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                  struct.pack("ii", 1, 0))
        if answer in (CLOSE, RESET):
            raise StopIteration
        if answer:
            connection.sendall(answer)
        return answer

    def dialogue(self, connection, lines):
        self.say(connection, "banner", b"220 sink.example\r\n")
        usual = {"EHLO": LISTING if self.pipelining else PLAIN,
                 "LHLO": LISTING if self.pipelining else PLAIN,
                 "DATA": b"354 go\r\n", "QUIT": b"221 bye\r\n"}
        accepted = 0
        for line in lines:
            word = line[:4].decode("ascii", "replace").upper()
            self.commands.append(line)
            answer = self.say(connection, word.lower(),
                              usual.get(word, b"250 ok\r\n"))
            if word == "QUIT":
                return
            if word == "DATA" and answer and answer.startswith(b"354"):
                text = []
                for part in lines:
                    if part == b".\r\n":
                        break
                    text.append(part)
                else:
                    return
                self.messages.append(b"".join(text))
                self.say(connection, "end", b"250 2.0.0 ok\r\n")

    def close(self):
        self.listener.close()


class Case:
    def __init__(self, name, script, wanted, stat=None, pipelining=False,
                 text=TEXT, most_connections=1):
        """wanted: "Ok", "TempFail", "PermFail", or one for each recipient."""
        self.name = re.sub(r"[^a-z0-9]+", "-", name.lower())
        self.wanted = [wanted] if isinstance(wanted, str) else wanted
        self.recipients = ["u%d@%s.example" % (i, self.name)
                           for i in range(len(self.wanted))]
        self.stat = stat
        self.text = text
        self.most_connections = most_connections
        self.host = Host(script, pipelining)


class Run:
    """A server that relays each case's mail to that case's host."""

    def __init__(self, cases):
        self.cases = cases
        conf = ["listen on 127.0.0.1 port {port} hostname mx.holdfast.example",
                'table boxes { "@" = nobody }',
                'action "box" maildir "{folder}/Maildir" virtual <boxes>'
                ' user nobody',
                'match from any for domain "inside.example" action "box"']
        for c in cases:
            conf.append('action "%s" relay host smtp+notls://%s:%d' %
                        (c.name, c.host.address, c.host.port))
            conf.append('match from local for domain "%s.example" action "%s"'
                        % (c.name, c.name))
        self.server = Server("\n".join(conf) + "\n")
        self.maildir = self.server.maildir()
        self.server.start()
        self.pids = self.rooms()

    def rooms(self):
        return {pid: name for pid, name in self.server.pids().items()
                if name not in ("smtpd-auth", "smtpd-agent")}

    def send(self, case, sender=SENDER):
        session = Smtp(self.server.port)
        session.expect("EHLO client.example", "250")
        reply = session.message(sender, case.recipients, case.text)
        expect(reply.startswith("250"), "message for %s" % case.name, reply)
        session.quit()

    def results(self):
        """{recipient: [(result, stat)]} from the log."""
        found = {}
        for line in self.server.log_text().splitlines():
            got = re.search(r' mta delivery .* to=<([^>]*)> .*'
                            r'result="?(\w+)"? stat="?(.*?)"?$', line)
            if got:
                found.setdefault(got.group(1), []).append(got.groups()[1:])
        return found

    def queued(self):
        return {fields[6]: fields for fields in self.server.queue()
                if len(fields) > 13}

    def bounces(self):
        folder = os.path.join(self.maildir, "new")
        found = {}
        if not os.path.isdir(folder):
            return found
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), "rb") as f:
                data = f.read()
            message = email.message_from_bytes(data,
                                               policy=email.policy.default)
            for address in failed_recipients(message, data):
                expect(address not in found, "one report for " + address)
                found[address] = message
        return found

    def settle(self, seconds=60):
        """Waits until each recipient has its fate, then checks all of them."""
        def missing():
            results = self.results()
            queued = self.queued()
            left = []
            for c in self.cases:
                for r, wanted in zip(c.recipients, c.wanted):
                    if r in results:
                        continue
                    if wanted == "TempFail" and r in queued and \
                            queued[r][13].strip():
                        continue
                    left.append(r)
            return left
        end = time.monotonic() + seconds
        while missing() and time.monotonic() < end:
            time.sleep(0.3)
        wrong = ["nothing known of " + r for r in missing()]
        time.sleep(1.5)    # whoever spins does it now
        results, queued = self.results(), self.queued()
        permanent = {r for c in self.cases
                     for r, w in zip(c.recipients, c.wanted)
                     if w == "PermFail"}
        with contextlib.suppress(Exception):
            wait_for(lambda: permanent <= set(self.bounces()), 30, "bounces")
        bounced = self.bounces()
        for c in self.cases:
            wrong += self.judge(c, results, queued, bounced)
        expect(not wrong, "%d wrong" % len(wrong), "\n      ".join(wrong))
        expect_equal(self.rooms(), self.pids, "processes")
        self.server.check_clean()
        expect("\x1b" not in self.server.log_text(), "escapes in the log")
        return results, queued, bounced

    def judge(self, case, results, queued, bounced):
        wrong = []
        for r, wanted in zip(case.recipients, case.wanted):
            got = results.get(r, [])
            state = {"Ok": (False, False), "PermFail": (False, True),
                     "TempFail": (True, False)}[wanted]
            if (r in queued, r in bounced) != state:
                wrong.append("%s: wanted %s; queued=%s bounced=%s %s" % (
                    r, wanted, queued.get(r), r in bounced, got))
            if got and got[-1][0] != wanted:
                wrong.append("%s: wanted %s, got %s" % (r, wanted, got))
            stat = got[-1][1] if got else queued.get(r, [""] * 14)[13]
            if case.stat is not None and not re.search(case.stat, stat):
                wrong.append("%s: stat %r" % (r, stat))
        if case.host.connections > case.most_connections:
            wrong.append("%s: %d connections" % (case.name,
                                                 case.host.connections))
        return wrong

    def close(self):
        self.server.close()
        for c in self.cases:
            c.host.close()


def failed_recipients(message, data):
    """The recipients of a report (RFC 3462, 3464), which must be well formed;
    none for another message."""
    if message.get_content_type() != "multipart/report":
        return []
    expect(not message.defects, "MIME of a report", message.defects, data)
    parts = list(message.iter_parts())
    expect_equal([p.get_content_type() for p in parts][:2],
                 ["text/plain", "message/delivery-status"], "parts")
    expect(parts[2].get_content_type() in ("message/rfc822",
                                           "text/rfc822-headers"),
           "third part", parts[2].get_content_type())
    for part in parts:
        expect(not part.defects, "MIME of a part", part.defects, data)
    expect(b"\x1b" not in data and b"\0" not in data, "controls in a report",
           data)
    expect(max(map(len, data.split(b"\n"))) <= 998, "a line is too long")
    groups = parts[1].get_payload()
    expect(groups[0]["Reporting-MTA"], "Reporting-MTA", groups[0])
    found = []
    for group in groups[1:]:
        expect(group["Final-Recipient"], "Final-Recipient", data)
        expect_equal(group["Action"], "failed", "Action")
        expect(re.fullmatch(r"[45]\.\d{1,3}\.\d{1,3}", group["Status"] or ""),
               "Status", group["Status"])
        found.append(group["Final-Recipient"].split(";")[1].strip())
    return found


def run(cases, **settings):
    with contextlib.closing(Run(cases)) as r:
        for c in cases:
            r.send(c)
        return r.settle(**settings)


def test_before_ready():
    """C3: nothing that happens before a host is ready is the mail's fault."""
    cases = [Case("connect refused", {"connect": "refused"}, "TempFail",
                  r"^Network error on destination MXs( \(.*\))?$")]
    for stage in ("banner", "ehlo", "helo"):
        for name, answer in ANSWERS.items():
            if stage == "ehlo" and name in PERMANENT | {"4xx", "1xx"}:
                continue    # goes on with HELO, below
            script = {stage: answer}
            if stage == "helo":
                script["ehlo"] = b"502 5.5.1 what?\r\n"
            # "twice" is ready, and says too much then.
            cases.append(Case("%s %s" % (stage, name), script, "TempFail",
                              "^Remote host sent too much data$"
                              if name == "twice" and stage != "banner" else
                              r"^Network error on destination MXs( \(.*\))?$"))
    for name in sorted(PERMANENT | {"4xx"}):
        cases.append(Case("fallback " + name, {"ehlo": ANSWERS[name]}, "Ok"))
    run(cases)


def envelope_cases(pipelining):
    cases = []
    for stage in ("mail", "rcpt", "data", "end"):
        for name, answer in ANSWERS.items():
            wanted = "PermFail" if name in PERMANENT else "TempFail"
            stat = {"4xx": "^451 4.3.0 not now$", "5xx": "^554 5.7.1 never$",
                    "421": "^421 4.3.2 going down$",
                    "close": "^Connection closed unexpectedly$",
                    "reset": "^(IO Error: .*|Connection closed unexp.*)$",
                    "folded": "^554-5.7.1 No such user here$"}.get(name)
            if name == "twice" and (stage == "end" or
                                    pipelining and stage != "data"):
                continue    # true, or each answer counts for the next command
            cases.append(Case("%s %s" % (stage, name), {stage: answer},
                              wanted, stat, pipelining))
    return cases


def test_one_at_a_time():
    run(envelope_cases(False))


def test_pipelined():
    run(envelope_cases(True))


def test_after_the_message():
    """What comes at QUIT changes nothing."""
    cases = [Case("quit " + name, {"quit": answer}, "Ok", "^250 2.0.0 ok$")
             for name, answer in ANSWERS.items()]
    cases.append(Case("unasked 421 behind", {
        "end": b"250 2.0.0 ok\r\n421 4.3.2 idle\r\n"}, "Ok"))
    run(cases)


def test_recipients_apart():
    """Several recipients of one transaction, each with an answer of its own."""
    cases = []
    for pipelining in (False, True):
        answers = [b"250 ok\r\n", b"450 4.2.1 busy\r\n", b"550 5.1.1 no\r\n",
                   b"250 ok\r\n"]
        fates = ["Ok", "TempFail", "PermFail", "Ok"]
        cases.append(Case("each %d" % pipelining, {"rcpt": list(answers)},
                          fates, pipelining=pipelining))
        # What RCPT said stands, whatever comes then.
        cases.append(Case("each then close %d" % pipelining,
                          {"rcpt": list(answers), "end": CLOSE},
                          ["TempFail", "TempFail", "PermFail", "TempFail"],
                          pipelining=pipelining))
        cases.append(Case("each then never %d" % pipelining,
                          {"rcpt": list(answers), "end": ANSWERS["5xx"]},
                          ["PermFail", "TempFail", "PermFail", "PermFail"],
                          pipelining=pipelining))
        cases.append(Case("none taken but 354 %d" % pipelining,
                          {"rcpt": ANSWERS["5xx"]}, ["PermFail"] * 2,
                          pipelining=pipelining))
    _, _, bounced = run(cases)
    expect_equal(bounced["u2@each-0.example"]["To"], SENDER, "To of a report")


def early_refusal(connection):
    connection.sendall(b"354 go\r\n")
    connection.recv(10000)
    connection.sendall(b"554 5.3.4 too big\r\n")
    time.sleep(0.5)
    return CLOSE


def test_refused_in_the_body():
    """C5: the answer comes before the message has been sent."""
    big = b"Subject: x\r\n\r\n" + (b"x" * 70 + b"\r\n") * 300000
    run([Case("early", {"data": early_refusal}, "PermFail",
              "^554 5.3.4 too big$", text=big),
         Case("early ok", {"data": lambda c: c.sendall(
             b"354 go\r\n250 2.0.0 thanks\r\n") or CLOSE}, "TempFail",
             text=big),
         Case("early ok small", {"data": b"354 go\r\n250 2.0.0 taken\r\n"},
              "TempFail"),
         Case("early ok small close", {"data": lambda c: c.sendall(
             b"354 go\r\n250 2.0.0 thanks\r\n") or CLOSE}, "TempFail")])


def test_reuse():
    """Connections are used again; a refused transaction is followed by RSET,
    and what that is answered changes no mail's fate."""
    cases = []
    for name, answer in [("fine", b"250 ok\r\n"), *ANSWERS.items()]:
        cases.append(Case("rset " + name, {
            "mail": [b"451 4.3.0 no\r\n"], "rset": answer}, "TempFail",
            most_connections=3))
    with contextlib.closing(Run(cases)) as r:
        for c in cases:
            r.send(c)
        for c in cases:
            c.recipients = ["v@%s.example" % c.name]
            c.wanted = ["Ok"]
            r.send(c)
        wait_for(lambda: all(c.host.messages for c in cases), 30,
                 "second messages: missing " + " ".join(
                     c.name for c in cases if not c.host.messages))
        for c in cases:
            expect(c.host.connections <= 3, c.name, c.host.connections)
        expect_equal(r.rooms(), r.pids, "processes")


if __name__ == "__main__":
    sys.exit(run_tests([value for name, value in list(globals().items())
                        if name.startswith("test_")]))
