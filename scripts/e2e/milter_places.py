"""Servers whose listener has a milter for a filter."""
import re

from filter_places import Place
from holdfast import expect

STAMPS = b"Date: Mon, 02 Mar 2026 10:00:00 +0000\r\n" \
         b"Message-ID: <1@example.com>\r\n"
LETTER = STAMPS + b"Subject: test\r\nX-Bad: one\r\nX-Bad: two\r\n" \
    b"To: x@y.example\r\n\r\nhi\r\n.dot\r\n"


def place(one, options="", **words):
    """A server whose listener has `one` for a filter."""
    return Place('filter f milter "%s" %s\n' % (one.socket, options), **words)


def sent(there, data=LETTER):
    """One message to the Maildir; it, without Return-Path and Delivered-To."""
    got = there.send("me@box.example", data=data)
    expect(got.startswith("250"), "accepted", got, there.server.log_tail())
    letter, = there.letters()
    return re.sub(rb"(?s)\A.*?(?=Received: |X-Top: |Authentication-Results: )",
                  b"", letter, count=1)


def below_received(letter):
    return re.sub(rb"\AReceived: .*\n(?:[ \t].*\n)*", b"", letter)
