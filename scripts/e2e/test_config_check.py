#!/usr/bin/env python3
"""smtpd -n: all errors of a file in one run, with what helps; warnings; and
with -v the configuration as understood, which reads back as the same."""
import os
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
from holdfast import expect, expect_equal, programs, run_tests  # noqa: E402

GOOD = """\
net = "192.0.2.0/24"
table nets { $net, "::1" }
table aliases file:{folder}/aliases
listen on lo port 2525 no-extension CHUNKING xclient <nets>
action "l" mbox alias <aliases>
match from src <nets> for any mail-from regex "a\\.test$" reject
match for local action "l"
"""
BAD = """\
accept from any for domain "example.org" alias <aliases> deliver to mbox
table domains { example.org }
action "l" mbx
match for domain <domans> action "l"
queue ttl 4w
"""


def check(text, *options):
    """(exit status, stdout, lines of stderr)"""
    folder = tempfile.mkdtemp(prefix="holdfast-conf.")
    try:
        os.chmod(folder, 0o755)
        with open(os.path.join(folder, "aliases"), "w") as f:
            f.write("postmaster: root\n")
        conf = os.path.join(folder, "smtpd.conf")
        with open(conf, "w") as f:
            f.write(text.replace("{folder}", folder))
        smtpd = os.path.join(programs(), "server", "smtpd")
        done = subprocess.run([smtpd, "-n", *options, "-f", conf],
                              capture_output=True, text=True, timeout=60)
        again = None
        if options and done.returncode == 0:
            with open(conf, "w") as f:
                f.write(done.stdout)
            again = subprocess.run([smtpd, "-n", *options, "-f", conf],
                                   capture_output=True, text=True, timeout=60)
        lines = done.stderr.replace(conf, "c.conf").splitlines()
        return done.returncode, done.stdout, lines, again
    finally:
        shutil.rmtree(folder)


def test_good_configuration():
    text = GOOD
    status, out, lines, _ = check(text)
    expect_equal(status, 0, "exit status")
    expect_equal(out, "", "nothing on stdout")
    expect_equal(lines, ["configuration OK"], "stderr")


def test_all_errors_at_once():
    status, out, lines, _ = check(BAD)
    expect_equal(status, 1, "exit status")
    heads = [line for line in lines if not line.startswith(" ")]
    expect_equal(heads, ["c.conf:1: syntax error", "c.conf:3: syntax error",
                         "c.conf:4: no such table: domans",
                         "c.conf:5: invalid ttl delay: 4w",
                         "warn: no rules, nothing to do"], "errors")
    text = "\n".join(lines)
    expect('        action "local_mail" mbox alias <aliases>\n' in text,
           "today's words", text)
    expect("did you mean 'mbox'?" in text, "near miss of a word", text)
    expect("did you mean 'domains'?" in text, "near miss of a table", text)


def test_warnings():
    text = 'table a { root = joe }\naction "l" mbox alias <a>\n' \
           'match mail-from regex "\\<x" for any reject\n'
    status, _, lines, _ = check(text)
    expect_equal(status, 0, "exit status")
    expect_equal(lines[-1], "configuration OK", "the last line")
    expect(lines[0].startswith('c.conf:3: warning: pattern "\\<x": '),
           "warning of the pattern", lines)
    expect("no alias for postmaster" in lines[1], "warning of postmaster",
           lines)


def test_printed_and_read_back():
    text = GOOD
    # The aliases must outlive the first run.
    text = text.replace("file:{folder}/aliases", "{ postmaster = root }")
    status, out, lines, again = check(text, "-v")
    expect_equal(status, 0, "exit status")
    expect_equal(lines[-1], "configuration OK", "stderr")
    expect('table "nets" { "192.0.2.0/24", "::1" }\n' in out,
           "macros are resolved", out)
    expect("queue ttl 4d\n" in out, "defaults are written out", out)
    expect_equal(again.returncode, 0, "exit status of the second run")
    expect_equal(again.stdout, out, "what the second run prints")


if __name__ == "__main__":
    sys.exit(run_tests([test_good_configuration, test_all_errors_at_once,
                        test_warnings, test_printed_and_read_back]))
