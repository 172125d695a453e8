"""Other mail servers, unpacked from their Debian packages (scripts/setup), as
next hops of ours or relaying to us.  Each runs in a mount namespace of its
own, in which its package lies over /usr and the users it wants exist.
"""
import os
import shutil
import signal
import subprocess
import tempfile

from holdfast import (OPEN, PEERS, Failure, Skip, Smtp, free_port, peer,
                      wait_for)

# Only inside the namespaces.
USERS = {"postfix": 64990, "postdrop": 64991, "Debian-exim": 64992,
         "opensmtpd": 64993, "opensmtpq": 64994}


class Peer:
    """One running peer, listening on `port` of 127.0.0.1 and relaying all it
    gets to 127.0.0.1:`next_hop`."""

    packages = ()
    program = ""    # whose absence skips the test
    user = ""

    def __init__(self, next_hop, tls=False, certificate=None, auth=None):
        """tls: what it relays goes by TLS.  certificate: (certificate, key) it
        offers STARTTLS with.  auth: (user, password, mechanism) that clients
        have to use."""
        if os.geteuid() != 0:
            raise Skip("needs root")
        peer(self.packages[-1], self.program)
        self.folder = tempfile.mkdtemp(prefix="holdfast-peer.")
        os.chmod(self.folder, 0o755)
        self.port = free_port()
        self.next_hop = next_hop
        self.tls = tls
        self.certificate = certificate
        self.auth = auth
        self.prepare()
        self.log = open(os.path.join(self.folder, "log"), "ab")
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-ec",
             self.script()], stdin=subprocess.DEVNULL, stdout=self.log,
            stderr=self.log, start_new_session=True, cwd=self.folder,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        OPEN.append(self)
        wait_for(self.ready, 20, "%s on port %d" % (
            type(self).__name__, self.port))

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def write(self, name, text):
        with open(self.path(name), "w") as f:
            f.write(text)

    def prepare(self):
        raise NotImplementedError

    def command(self):
        raise NotImplementedError

    def folders(self, owner, mode, *names):
        for name in names:
            os.makedirs(self.path(name), exist_ok=True)
            os.chown(self.path(name), owner, owner)
            os.chmod(self.path(name), mode)

    def script(self):
        for kind in ("passwd", "group"):
            with open("/etc/" + kind) as f:
                text = "".join(line for line in f
                               if line.split(":")[0] not in USERS)
            for name, number in USERS.items():
                text += "%s:x:%d:" % (name, number)
                text += "\n" if kind == "group" else \
                    "%d::/nonexistent:/usr/sbin/nologin\n" % number
            self.write(kind, text)
        layers = [os.path.join(PEERS, p, "usr") for p in self.packages]
        return "\n".join([
            "mount --bind %s /etc/passwd" % self.path("passwd"),
            "mount --bind %s /etc/group" % self.path("group"),
            "mount -t overlay overlay -o lowerdir=%s:/usr /usr" %
            ":".join(layers),
            "exec " + " ".join(self.command())])

    def ready(self):
        if self.process.poll() is not None:
            raise Failure("%s ended\n%s" % (type(self).__name__, self.text()))
        try:
            smtp = Smtp(self.port, timeout=5)
        except (OSError, Failure):
            return False
        smtp.close()
        return smtp.banner.startswith("220")

    def text(self):
        with open(self.path("log")) as f:
            return f.read()

    def send(self, sender, recipients, data):
        smtp = Smtp(self.port)
        smtp.expect("EHLO client.example", "250")
        reply = smtp.message(sender, recipients, data)
        if not reply.startswith("250"):
            raise Failure("%s says %s\n%s" % (type(self).__name__, reply,
                                              self.text()))
        smtp.quit()

    def close(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Postfix(Peer):
    packages = ("postfix",)
    program = "usr/lib/postfix/sbin/master"

    def prepare(self):
        uid = USERS["postfix"]
        self.folders(0, 0o755, "queue", "queue/pid")
        self.folders(uid, 0o700, "data", *["queue/" + name for name in (
            "active bounce corrupt defer deferred flush hold incoming private "
            "saved trace maildrop public").split()])
        self.write("main.cf", """\
compatibility_level = 3.6
queue_directory = {f}/queue
data_directory = {f}/data
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
shlib_directory = /usr/lib/postfix
meta_directory = {f}
maillog_file = {f}/log
maillog_file_prefixes = {f}
myhostname = postfix.example
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = {who}, reject
relayhost = [127.0.0.1]:{next}
disable_dns_lookups = yes
smtputf8_enable = yes
smtp_tls_security_level = {level}
smtp_tls_loglevel = 1
smtpd_tls_loglevel = 1
smtpd_tls_received_header = yes
{more}""".format(f=self.folder, next=self.next_hop,
              more=self.server_tls() + self.server_auth(),
              who="permit_sasl_authenticated" if self.auth else
              "permit_mynetworks",
              level="encrypt" if self.tls else "none"))
        self.write("dynamicmaps.cf", "")
        self.write("master.cf", """\
127.0.0.1:%d inet n - n - 20 smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
smtp unix - - n - 20 smtp
relay unix - - n - 20 smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
""" % self.port)

    def server_tls(self):
        if not self.certificate:
            return ""
        return ("smtpd_tls_security_level = may\nsmtpd_tls_chain_files = "
                "%s, %s\n" % self.certificate[::-1])

    def server_auth(self):
        if not self.auth:
            return ""
        import dovecot    # which is a peer, too
        self.checker = dovecot.DovecotAuth(*self.auth)
        return ("smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\n"
                "smtpd_tls_auth_only = yes\nsmtpd_sasl_path = %s\n" %
                self.checker.socket_path)

    def command(self):
        return ["/usr/lib/postfix/sbin/master", "-c", self.folder]


class Exim(Peer):
    packages = ("exim4-daemon-light",)
    program = "usr/sbin/exim4"

    def prepare(self):
        self.folders(USERS["Debian-exim"], 0o750, "spool", "logs")
        self.write("exim.conf", """\
primary_hostname = exim.example
spool_directory = {f}/spool
log_file_path = {f}/logs/%slog
pid_file_path = {f}/spool/pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
exim_user = Debian-exim
exim_group = Debian-exim
never_users =
{server}acl_smtp_rcpt = rcpt
begin acl
rcpt:
  accept {who}
begin authenticators
{auth}begin routers
relay:
  driver = manualroute
  transport = remote
  route_list = * 127.0.0.1
  self = send
begin transports
remote:
  driver = smtp
  port = {next}
  allow_localhost
  tls_verify_certificates =
  {tls} = *
""".format(f=self.folder, port=self.port, next=self.next_hop,
           who="authenticated = *" if self.auth else "hosts = 127.0.0.1",
           server=self.server_tls(), auth=self.authenticator(),
           tls="hosts_require_tls" if self.tls else "hosts_avoid_tls"))

    def server_tls(self):
        if not self.certificate:
            return "tls_advertise_hosts =\n"
        return ("tls_advertise_hosts = *\ntls_certificate = %s\n"
                "tls_privatekey = %s\n" % self.certificate)

    def authenticator(self):
        if not self.auth:
            return ""
        user, password, mechanism = self.auth
        lines = ["public_name = " + mechanism,
                 "server_advertise_condition = ${if def:tls_in_cipher}",
                 "server_set_id = $auth1"]
        check = "${if and{{eq{$auth%d}{" + user + "}}{eq{$auth%d}{" + \
            password + "}}}}"
        if mechanism == "CRAM-MD5":
            lines += ["driver = cram_md5", "server_secret = "
                      "${if eq{$auth1}{%s}{%s}fail}" % (user, password)]
        elif mechanism == "LOGIN":
            lines += ["driver = plaintext",
                      "server_prompts = Username:: : Password::",
                      "server_condition = " + check % (1, 2)]
        else:
            lines += ["driver = plaintext", "server_prompts = :",
                      "server_condition = " + check % (2, 3)]
        return "one:\n" + "".join("  %s\n" % line for line in lines)

    def script(self):
        # The configuration of the package's own place, so that Exim keeps its
        # privileges.
        mount = "mkdir -p {f}/etc\ncp {f}/exim.conf {f}/etc/exim4.conf\n".format(
            f=self.folder)
        whole = super().script().split("\nexec ")
        return (whole[0] + "\n" + mount +
                "test -d /etc/exim4 || { mount -t tmpfs t /mnt; "
                "mkdir -p /mnt/up /mnt/work; mount -t overlay overlay -o "
                "lowerdir=/etc,upperdir=/mnt/up,workdir=/mnt/work /etc; "
                "mkdir -p /etc/exim4; "
                "mount --bind %s /etc/passwd; mount --bind %s /etc/group; }\n"
                "cp %s /etc/exim4/exim4.conf\n" % (
                    self.path("passwd"), self.path("group"),
                    self.path("exim.conf")) + "exec " + whole[1])

    def command(self):
        return ["/usr/sbin/exim4", "-bdf", "-q5s"]

    def text(self):
        text = super().text()
        for name in ("mainlog", "paniclog"):
            if os.path.exists(self.path("logs", name)):
                with open(self.path("logs", name)) as f:
                    text += f.read()
        return text


class OpenSmtpd(Peer):
    packages = ("opensmtpd",)
    program = "usr/sbin/smtpd"

    def prepare(self):
        if self.certificate or self.auth:
            raise Skip("Debian's OpenSMTPD has no TLS that works")
        self.write("smtpd.conf", """\
listen on 127.0.0.1 port %d
action "out" relay host "smtp%s://127.0.0.1:%d" %s
match from any for any action "out"
""" % (self.port, "+tls" if self.tls else "+notls", self.next_hop,
       "tls no-verify" if self.tls else ""))

    def script(self):
        whole = super().script().split("\nexec ")
        return (whole[0] + "\nmount -t tmpfs t /mnt\n"
                "mkdir -p /mnt/spool /mnt/lib/empty\n"
                "mount --bind /mnt/spool /var/spool\n"
                "mount --bind /mnt/lib /var/lib\n"
                "mkdir -p /var/lib/opensmtpd/empty\n"
                "mount -t tmpfs t /run\n"
                "exec " + whole[1])

    def command(self):
        return ["/usr/sbin/smtpd", "-d", "-f", self.path("smtpd.conf")]
