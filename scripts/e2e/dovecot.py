"""Dovecot, unpacked from its Debian packages (scripts/setup), as an LMTP server,
as an IMAP server for Maildirs that we have written, and as who checks the
passwords of Postfix's clients."""
import contextlib
import imaplib
import os
import socket

from holdfast import free_port
from peers import USERS, Peer

USERS.update({"dovecot": 64980, "dovenull": 64981})
OWNER = 65534    # of all mail


class Dovecot(Peer):
    """`users`: {name: bytes of quota, 0: none}.  `socket_path`: LMTP;
    `port`: LMTP, too; `imap_port`.  Mail is in mail/NAME."""

    packages = ("dovecot-imapd", "dovecot-lmtpd", "dovecot-core")
    program = "usr/sbin/dovecot"

    def __init__(self, users):
        self.users = users
        self.imap_port = free_port()
        super().__init__(0)

    def prepare(self):
        self.socket_path = self.path("lmtp")
        self.folders(OWNER, 0o700, "mail")
        self.folders(0, 0o755, "run", "state")
        self.write("users", "".join(
            "%s:{PLAIN}secret:%d:%d::%s::userdb_quota_rule=*:bytes=%d\n" %
            (name, OWNER, OWNER, self.path("mail"), quota)
            for name, quota in self.users.items()))
        self.write("dovecot.conf", """\
base_dir = {f}/run
state_dir = {f}/state
log_path = {f}/log
protocols = imap lmtp
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
first_valid_uid = 1
mail_location = maildir:{f}/mail/%n
mail_plugins = quota
auth_verbose = yes
quota_full_tempfail = yes
passdb {{
  driver = passwd-file
  args = {f}/users
}}
userdb {{
  driver = passwd-file
  args = {f}/users
}}
plugin {{
  quota = maildir:User quota
}}
service lmtp {{
  unix_listener {f}/lmtp {{
    mode = 0600
  }}
  inet_listener lmtp {{
    port = {port}
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
}}
""".format(f=self.folder, port=self.port, imap=self.imap_port))

    def command(self):
        return ["/usr/sbin/dovecot", "-F", "-c", self.path("dovecot.conf")]

    def ready(self):
        with contextlib.suppress(OSError):
            with socket.create_connection(("127.0.0.1", self.port), 5) as s:
                return s.recv(3) == b"220"
        return False

    def imap(self, name):
        client = imaplib.IMAP4("127.0.0.1", self.imap_port)
        client.login(name, "secret")
        return client

    def messages(self, name, folder="INBOX"):
        """All of a user's, as IMAP gives them."""
        client = self.imap(name)
        client.select(folder, readonly=True)
        numbers = client.search(None, "ALL")[1][0].split()
        texts = [client.fetch(n, "(RFC822)")[1][0][1] for n in numbers]
        client.logout()
        return texts


class DovecotAuth(Peer):
    """Checks one user's password, by one SASL mechanism, at `socket_path`."""

    packages = ("dovecot-core",)
    program = "usr/sbin/dovecot"

    def __init__(self, user, password, mechanism):
        self.user, self.password = user, password
        self.mechanism = mechanism
        super().__init__(0)

    def prepare(self):
        self.socket_path = self.path("auth")
        self.folders(0, 0o755, "run", "state")
        self.write("users", "%s:{PLAIN}%s:::::\n" % (self.user,
                                                     self.password))
        self.write("dovecot.conf", """\
base_dir = {f}/run
state_dir = {f}/state
log_path = {f}/log
protocols =
ssl = no
auth_mechanisms = {mechanism}
auth_verbose = yes
passdb {{
  driver = passwd-file
  args = {f}/users
}}
service auth {{
  unix_listener {f}/auth {{
    mode = 0666
  }}
}}
""".format(f=self.folder, mechanism=self.mechanism.lower()))

    def command(self):
        return ["/usr/sbin/dovecot", "-F", "-c", self.path("dovecot.conf")]

    def ready(self):
        with contextlib.suppress(OSError), socket.socket(
                socket.AF_UNIX) as s:
            s.connect(self.socket_path)
            return s.recv(7) == b"VERSION"
        return False
