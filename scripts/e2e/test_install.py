#!/usr/bin/env python3
"""scripts/install below a folder of its own: what is installed finds each other
and works."""
import os
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
import holdfast                                                # noqa: E402
from holdfast import (BIN, NOBODY, ROOT, Server, expect,       # noqa: E402
                      expect_equal, run_tests, wait_for)

CONF = """\
listen on 127.0.0.1 port {port}
table boxes { "@" = %s }
action "box" maildir "{folder}/Maildir" virtual <boxes> user %s
match from local for any action "box"
"""
ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/nonexistent"}


def installed():
    destination = tempfile.mkdtemp(prefix="holdfast-dest.")
    os.chmod(destination, 0o755)
    subprocess.run([os.path.join(ROOT, "scripts/install"), destination],
                   check=True, env=dict(os.environ, HOLDFAST_BIN=BIN))
    return destination


def test_installed_programs_work():
    destination = installed()
    sbin = os.path.join(destination, "usr/sbin")
    user = NOBODY if os.geteuid() == 0 else subprocess.check_output(
        ["id", "-un"], text=True).strip()
    s = Server(CONF % (user, user))
    maildir = s.maildir()
    run = subprocess.run([os.path.join(sbin, "smtpd"), "-n", "-f", s.conf],
                         stderr=subprocess.PIPE, text=True)
    expect_equal((run.returncode, run.stderr.strip()), (0, "configuration OK"),
                 "smtpd -n")
    log = open(s.log_path, "wb")
    s.process = subprocess.Popen([os.path.join(sbin, "smtpd"), "-d", "-f",
                                  s.conf], stdout=log, stderr=log, cwd="/",
                                 env=ENV)
    s.wait_ready()
    env = dict(ENV, SMTPD_SPOOL=s.spool)
    for name in ("sendmail", "send-mail"):
        subprocess.run([os.path.join(sbin, name), "-f", "a@outside.example",
                        "b@inside.example"], input=b"Subject: x\n\nhello\n",
                       check=True, env=env)
    wait_for(lambda: s.count(maildir) == 2, 20, "delivery\n" + s.log_tail())
    s.wait_empty()
    run = subprocess.run([os.path.join(sbin, "mailq")], env=env,
                         stdout=subprocess.PIPE)
    expect_equal((run.returncode, run.stdout), (0, b""), "mailq")
    for path, words in (("bash-completion/completions/smtpctl",
                         "complete -F _smtpctl smtpctl"),
                        ("zsh/vendor-completions/_smtpctl",
                         "#compdef smtpctl")):
        with open(os.path.join(destination, "usr/share", path)) as f:
            expect(words in f.read(), path)
    s.close()
    shutil.rmtree(destination)


def test_installed_again_keeps_the_configuration():
    destination = installed()
    conf = os.path.join(destination, "etc/smtpd.conf")
    here = conf + ".here"
    with open(conf) as f, open(here, "w") as out:
        out.write(f.read().replace("/etc/", destination + "/etc/"))
    run = subprocess.run([os.path.join(destination, "usr/sbin/smtpd"), "-n",
                          "-f", here], stderr=subprocess.PIPE, text=True)
    expect(run.returncode == 0, "the example is valid", run.stderr)
    with open(conf, "a") as f:
        f.write("# mine\n")
    subprocess.run([os.path.join(ROOT, "scripts/install"), destination],
                   check=True, env=dict(os.environ, HOLDFAST_BIN=BIN))
    with open(conf) as f:
        expect(f.read().endswith("# mine\n"), "the administrator's file stays")
    shutil.rmtree(destination)


def test_programs_are_hardened():
    """Position independent, and relocations read-only after start."""
    for name in sorted(os.listdir(os.path.join(holdfast.programs(),
                                               "server"))):
        path = os.path.join(holdfast.programs(), "server", name)
        header = subprocess.check_output(["readelf", "-hld", path], text=True)
        for wanted in ("DYN (Position-Independent Executable file)",
                       "GNU_RELRO", "BIND_NOW"):
            expect(wanted in header, "%s has %s" % (name, wanted))


if __name__ == "__main__":
    sys.exit(run_tests([test_installed_programs_work,
                        test_installed_again_keeps_the_configuration,
                        test_programs_are_hardened]))
