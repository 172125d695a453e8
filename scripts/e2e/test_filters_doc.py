#!/usr/bin/env python3
"""What docs/FILTERS.md shows works: its two filters, run from the document
with its configuration, and each of its configurations is understood."""
import os
import re
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
from filter_places import Place                                # noqa: E402
from holdfast import (ROOT, Smtp, expect, expect_equal,        # noqa: E402
                      programs, run_tests)

PLACE = "/usr/local/libexec"
NAMES = {"sh": "filter-helo", "python": "filter-fortune"}


def blocks():
    """[(language, text)] of the document."""
    with open(os.path.join(ROOT, "docs", "FILTERS.md")) as f:
        return re.findall(r"(?ms)^```(\S+)\n(.*?)^```$", f.read())


def write_filters(folder):
    for language, text in blocks():
        if language in NAMES:
            path = os.path.join(folder, NAMES[language])
            with open(path, "w") as f:
                f.write(text)
            os.chmod(path, 0o755)


def test_they_have_twenty_lines():
    found = {language: text.count("\n") for language, text in blocks()
             if language in NAMES}
    expect_equal(sorted(found), sorted(NAMES), "languages")
    for language, lines in found.items():
        expect(lines <= 21, "twenty lines and #! of " + language, lines)


def test_they_do_what_they_say():
    conf = next(text for language, text in blocks()
                if language == "smtpd.conf" and PLACE in text)
    lines = conf.replace(PLACE, "{folder}").splitlines(True)
    place = Place(
        "".join(line for line in lines if line.startswith("filter")),
        listen="".join(line.replace(
            "on 0.0.0.0", "on 127.0.0.1 port {port} hostname "
            "mx.holdfast.example") for line in lines if
            line.startswith("listen")), start=False)
    write_filters(place.folder)
    place.server.start()
    session = Smtp(place.server.port)
    for name in ("nobody", "a-b"):
        session.expect("EHLO " + name, "550 5.7.1 That is no name")
        session.expect("HELO " + name, "550 5.7.1 That is no name")
    session.expect("EHLO c.example", "250")
    session.expect("EHLO [127.0.0.1]", "250")
    letter = b"Subject: %s\r\n\r\nSubject: lottery\r\n|x|\r\n..\r\n"
    for subject in (b"hello", b"the lottery", b"hello again"):
        reply = session.message("s@example.com", ["me@box.example"],
                                letter % subject)
        expect(reply.startswith("250"), "accepted", reply,
               place.server.log_tail())
    session.quit()
    place.server.sendmail("me@box.example", data=b"Subject: lottery\n\nx\n")
    clean = place.letters(2)
    expect(all(b"X-Spam" not in one and one.endswith(
        b"\n\nSubject: lottery\n|x|\n..\n") for one in clean), "clean", clean)
    for one in place.letters(2, ".Junk/new"):
        expect(b"\nX-Spam: Yes\nSubject: " in one, "marked", one)


def test_its_configurations_are_understood():
    configurations = [text for language, text in blocks()
                      if language == "smtpd.conf"]
    expect(len(configurations) >= 4, "configurations", len(configurations))
    for text in configurations:
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as f:
            f.write(text)
            f.flush()
            run = subprocess.run(
                [os.path.join(programs(), "server/smtpd"), "-n", "-f", f.name],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        expect("configuration OK" in run.stdout, "it is understood", text,
               run.stdout)


if __name__ == "__main__":
    sys.exit(run_tests([value for name, value in list(globals().items())
                        if name.startswith("test_")]))
