#!/usr/bin/env python3
"""What else comes to filters (sendmail, reports of the queue), who their
processes are, and what becomes of mail when they fail."""
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys

sys.dont_write_bytecode = True
from filter_places import LETTER, RECORDER, Place              # noqa: E402
from filter_streams import HOST, Record, text_and_rest         # noqa: E402
from holdfast import (Failure, Smtp, expect, expect_equal,     # noqa: E402
                      free_port, run_tests, wait_for)


def test_sendmail_passes_the_filter_of_the_socket():
    place = Place((RECORDER % "").replace("filter f", "filter s") +
                  'filter f phase connect match !src { 127.0.0.1 } '
                  'disconnect "550 no"\nlisten on socket filter s\n')
    place.server.sendmail("me@box.example", data=b"Subject: x\n\nx\n")
    place.letters()
    place.record.wait(r"\|link-connect\|\w+\|[^|]+\|pass\|unix:[^|]+\|unix:")
    place.record.wait(r"< filter\|.*\|connect\|\w+\|\w+\|[^|]+\|local$")
    there, _, _ = text_and_rest(place.record.lines())
    expect("Subject: x" in there, "text", there)
    place.record.wait("link-disconnect")


def test_sendmail_refused_by_a_filter():
    place = Place(RECORDER % " 'rcpt-to=reject|550 5.7.1 Not by us'" +
                  "listen on socket filter f\n")
    run = place.server.sendmail("me@box.example", data=b"Subject: x\n\nx\n",
                                check=False)
    expect(run.returncode != 0, "sendmail fails", run.returncode)
    expect(b"Not by us" in run.stderr, "and says why", run.stderr)


def test_reports_of_the_queue_pass_the_filter_of_the_socket():
    place = Place(RECORDER % " 'text=header:X-Seen: yes'" +
                  'filter g phase connect match !src { 127.0.0.1 } '
                  'disconnect "550 no"\nlisten on socket filter f\n',
                  listen=Place.LISTEN.replace("filter f", "filter g"))
    expect(place.send("perm@example.net", sender="me@box.example")
           .startswith("250"), "accepted")
    letter, = place.letters()
    expect(letter.startswith(b"Return-Path: <>") or b"X-Seen: yes" in letter,
           "a report", letter)
    expect(b"X-Seen: yes\n" in letter, "filtered", letter)
    lines = place.record.session_with("smtp-in", r"\|tx-mail\|\w+\|\w+\|ok\|$")
    events = [line.split("|")[4] for line in lines
              if line.startswith("< report|")]
    for event in ("link-connect", "tx-begin", "tx-envelope", "tx-rcpt",
                  "tx-commit", "tx-reset", "link-disconnect"):
        expect(event in events, event, events)


# --- the process


def process_of(place):
    path = os.path.join(place.folder, "pid")
    wait_for(lambda: os.path.exists(path) and open(path).read().endswith("\n"),
             20, "the filter's process\n" + place.server.log_tail())
    pid, uid, gid, folder = open(path).read().split()
    return int(pid), int(uid), int(gid), folder


def test_user_and_group():
    place = Place(RECORDER % " pid={folder}/pid", start=False)
    place.server.start()
    pid, uid, gid, _ = process_of(place)
    entry = pwd.getpwnam("_smtpd")
    expect_equal((uid, gid), (entry.pw_uid, entry.pw_gid), "by default")
    fds = {os.readlink("/proc/%d/fd/%s" % (pid, fd)).split(":")[0]
           for fd in ("0", "1", "2")}
    expect_equal(fds, {"socket"}, "standard descriptors")
    others = [os.readlink("/proc/%d/fd/%s" % (pid, fd))
              for fd in os.listdir("/proc/%d/fd" % pid) if int(fd) > 2]
    expect_equal([path for path in others
                  if not path.startswith(place.folder)], [], "no others")
    expect(os.getsid(pid) == pid and os.getpgid(pid) == pid, "own session")
    with open("/proc/%d/environ" % pid, "rb") as f:
        environment = f.read()
    expect(len(environment) < 1000, "environment", environment)
    place.server.stop()
    wait_for(lambda: not os.path.exists("/proc/%d" % pid), 10,
             "it ends with the server")
    place = Place((RECORDER % " pid={folder}/pid").replace(
        '"\n', '" user nobody group nogroup\n', 1))
    _, uid, gid, _ = process_of(place)
    expect_equal((uid, gid), (65534, 65534), "as configured")


def test_chroot():
    place = Place('proc recorder "/recorder /record" chroot "{folder}/root"\n'
                  'filter f proc recorder\n', start=False)
    root = os.path.join(place.folder, "root")
    needed = ["/bin/sh"]
    for program in ("/bin/sh", place.filters["recorder.c"]):
        out = subprocess.run(["ldd", program], check=True, text=True,
                             stdout=subprocess.PIPE).stdout
        needed += re.findall(r"(/\S+) \(0x", out)
    for path in needed:
        os.makedirs(root + os.path.dirname(path), exist_ok=True)
        shutil.copy(path, root + path)
    shutil.copy(place.filters["recorder.c"], root + "/recorder")
    place.record = Record(root)
    place.server.start()
    place.record.wait(r"register\|ready")
    expect(place.send().startswith("250"), "accepted")
    place.record.wait(r"smtp-in\|tx-commit")


def test_commands():
    """Arguments, quotes; a name without a slash is looked for in libexec."""
    place = Place("proc recorder \"{filters}/recorder.py {record} "
                  "'noop=reject|550 5.0.0 a \\\"b\\\" $HOME'\"\n"
                  "filter f proc recorder\n")
    session = place.smtp()
    expect_equal(session.command("NOOP"), '550 5.0.0 a "b" $HOME', "noop")


def test_standard_error_is_logged():
    place = Place("""\
proc noisy "/bin/sh -c 'echo one >&2; echo two >&2; \
exec {filters}/recorder.py {record}'"
filter f proc noisy
""")
    place.log(r"noisy: one\n(.*\n)*.*noisy: two\n")
    expect(place.send("me@box.example").startswith("250"), "accepted")


def test_two_listeners_share_a_process():
    port = free_port()
    place = Place(RECORDER % " pid={folder}/pid", listen=Place.LISTEN +
                  "listen on 127.0.0.1 port %d hostname two.example filter f\n"
                  % port)
    process_of(place)
    place.send("me@box.example")
    place.send("me@box.example", port=port)
    place.record.wait(r"link-greeting\|\w+\|two.example")
    place.record.wait(r"link-greeting\|\w+\|" + HOST, 2)
    expect_equal(place.record.count(r"> register\|ready"), 1, "one process")


def test_a_listener_without_filter_is_not_told_of():
    port = free_port()
    place = Place(RECORDER % "", listen=Place.LISTEN +
                  "listen on 127.0.0.1 port %d hostname two.example\n" % port)
    place.record.wait("link-disconnect")
    place.record.clear()
    expect(place.send("me@box.example", port=port).startswith("250"), "mail")
    place.letters()
    expect_equal(place.record.lines(), [], "heard")


def test_reports_of_a_filters_own():
    """`report|...`, which ends a 7.8."""
    place = Place(RECORDER % " 'report=all is well'")
    place.send("me@box.example")
    place.record.wait(r"< report\|.*\|filter-report\|\w{16}\|proc\|recorder\|"
                      r"all is well$")




def test_pipelined_commands_are_asked_one_by_one():
    place = Place(RECORDER % "")
    session = Smtp(place.server.port)
    session.send(b"EHLO c2\r\nMAIL FROM:<s@example.com>\r\n"
                 b"RCPT TO:<me@box.example>\r\nDATA\r\n")
    for code in ("250", "250", "250", "354"):
        reply = session.reply()
        expect(reply.startswith(code), "pipelined", reply)
    session.send(LETTER + b".\r\nNOOP\r\nQUIT\r\n")
    for code in ("250", "250", "221"):
        reply = session.reply()
        expect(reply.startswith(code), "pipelined", reply)
    place.letters()
    phases = [line.split("|")[4] for line in place.record.lines()
              if line.startswith("< filter|") and "|data-line|" not in line]
    at = phases.index("ehlo")
    expect_equal(phases[at:at + 7], ["ehlo", "mail-from", "rcpt-to", "data",
                                     "commit", "noop", "quit"], "phases")


# --- when it fails


def test_on_failure():
    for care, reply in (("", "421"), (" on-failure tempfail", "421"),
                        (" on-failure accept", "220")):
        place = Place('proc gone "/bin/false"%s\nfilter f proc gone\n' % care,
                      start=False)
        place.server.start(wait=0)
        def banner():
            try:
                return Smtp(place.server.port, timeout=20).banner
            except (OSError, Failure):
                return None
        got = wait_for(banner, 20, "a banner\n" + place.server.log_tail())
        expect(got.startswith(reply), "banner", got, place.server.log_tail())
        place.log(r"warn: lost processor: gone exited abnormally")
        if reply == "220":
            expect(place.send("me@box.example").startswith("250"), "accepted")
            place.letters()
        place.server.stop()


def test_the_room_dies():
    """Filters end with it and are started again; what was under way is
    refused for now, everybody else goes on, nothing is lost or doubled."""
    port = free_port()
    place = Place(RECORDER % " pid={folder}/pid", listen=Place.LISTEN +
                  "listen on 127.0.0.1 port %d hostname two.example\n" % port)
    accepted = 0
    for round_ in range(3):
        pid = process_of(place)[0]
        room, = place.server.room_pids("smtpd-filters")
        under_way = place.smtp()
        for line in ("MAIL FROM:<s@example.com>", "RCPT TO:<me@box.example>"):
            under_way.expect(line, "250")
        under_way.expect("DATA", "354")
        under_way.send(b"Subject: under way\r\n\r\n")
        os.kill(room, signal.SIGKILL)
        expect(place.send("me@box.example", port=port).startswith("250"),
               "by the listener without a filter")
        accepted += 1
        under_way.send(b"text\r\n.\r\n")
        reply = under_way.reply()
        expect(reply[:1] == "4", "under way", reply)
        under_way.close()
        wait_for(lambda: not os.path.exists("/proc/%d" % pid), 20,
                 "the old process is gone")

        def again():
            try:
                return place.send("me@box.example").startswith("250")
            except (Failure, OSError):
                return False
        wait_for(again, 30, "mail passes again\n" + place.server.log_tail())
        accepted += 1
    place.letters(accepted)
    place.server.wait_empty()
    expect_equal(place.server.count(place.maildir), accepted, "letters")
    place.server.check_clean()


def test_receive_dies():
    """Its sessions end for filters, too; the process stays."""
    place = Place(RECORDER % " pid={folder}/pid")
    pid = process_of(place)[0]
    place.record.wait("link-disconnect")
    place.record.clear()
    session = place.smtp()
    session.expect("MAIL FROM:<s@example.com>", "250")
    place.record.wait("tx-mail")
    for room in place.server.room_pids("smtpd-receive"):
        os.kill(room, signal.SIGKILL)
    session.close()
    place.record.wait(r"< report.*\|link-disconnect\|")
    wait_for(place.server.ready, 20, "a new one")
    expect(place.send("me@box.example").startswith("250"), "mail")
    expect_equal(process_of(place)[0], pid, "the same process")
    expect(os.path.exists("/proc/%d" % pid), "it lives")


if __name__ == "__main__":
    sys.exit(run_tests([value for name, value in list(globals().items())
                        if name.startswith("test_")]))
