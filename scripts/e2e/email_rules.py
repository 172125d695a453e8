"""What may happen to a message on its way into a Maildir, written down a second
time and independently of the server: the rules of the reference (part 1,
sections 4.7 and 4.10; part 2, section 6.2).

A message is a list of lines without line ends.  What can't be known before is
written as a word: HOST (the server's name), DATE, ID (of a Message-ID).
"""
import re

SENDER = "sender@outside.example"

REFUSED = "550 5.7.1 Delivery not authorized, message refused: " \
          "Message is not RFC 2822 compliant"
BARE = "550 5.6.0"

# Names that sendmail knows: without any of them a message has no header.
KNOWN = (b"from:", b"to:", b"cc:", b"bcc:", b"date:", b"message-id:",
         b"mime-version:", b"content-type:", b"content-disposition:",
         b"content-transfer-encoding:", b"user-agent:")
LONG_LINE = 990


def lines_of(data):
    """CRLF and LF end a line; a last line without an end gets one."""
    lines = data.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    return [line[:-1] if line.endswith(b"\r") else line for line in lines]


def by_smtp(data):
    """(reply, lines) for a message sent by SMTP."""
    if b"\0" in data or re.search(rb"\r(?!\n)", data):
        return BARE, None
    return by_server(lines_of(data))


def by_sendmail(data, sender=SENDER):
    """(reply, lines) for a message given to sendmail with -f SENDER."""
    lines = lines_of(data)
    end = lines.index(b"") if b"" in lines else len(lines)
    header = lines[:end]
    known = [name for name in KNOWN
             if any(line.lower().startswith(name) for line in header)]
    first = []
    if b"from:" not in known:
        first.append(b"From: <" + sender.encode() + b">")
    if b"date:" not in known:
        first.append(b"Date: DATE")
    if any(len(line) + 1 >= LONG_LINE for line in lines):
        raise ValueError("no rule here for the encoding of long lines")
    if not known:
        first.append(b"")
    out = []
    in_header = True
    removing = False
    for line in lines:
        # A line that is no field begins the body, behind an empty line: the
        # reference sends it as it is, and its server refuses the message.
        if in_header and known and line and line[:1] not in (b" ", b"\t") \
                and b":" not in line:
            in_header = removing = False
            out.append(b"")
        if in_header and line == b"":
            in_header = removing = False
        if in_header and line[:1] not in (b" ", b"\t"):
            removing = line.lower().startswith(b"bcc:")
        if removing and line[:1] in (b" ", b"\t", b"b", b"B"):
            continue
        # Of these sendmail drops the line, not what continues it.
        if in_header and line.lower().startswith((b"from ", b"return-path: ")):
            continue
        out.append(line)
    return by_server(first + out)


def by_server(lines):
    fields, body = split_header(lines)
    if fields is None:
        return REFUSED, None
    out = []
    names = set()
    for field in fields:
        name = field[0].split(b":", 1)[0].lower()
        names.add(name)
        if name == b"bcc":
            continue
        if name in (b"from", b"to", b"cc"):
            field = complete(field)
        out += field
    if b"date" not in names:
        out.append(b"Date: DATE")
    if b"message-id" not in names:
        out.append(b"Message-ID: ID")
    return "250", out + body


def split_header(lines):
    """([lines of a field, ...], the empty line and the rest); None: not a
    message."""
    fields = []
    for number, line in enumerate(lines):
        if line == b"":
            return fields, lines[number:]
        if line[:1] in (b" ", b"\t"):
            if not fields:
                return None, None
            fields[-1].append(line)
        elif b":" in line:
            fields.append([line])
        else:
            return None, None
    return fields, []


def complete(field):
    """Adds @HOST to the addresses without a domain; folding stays.  Members of
    a group are addresses like others (the reference damages groups: its quirk
    16, advice: deviate)."""
    text = b"\n".join(field)
    name, value = text.split(b":", 1)
    parts = split_addresses(value) + [b""]
    return (name + b":" + b"".join(
        part if following == b":" else complete_one(part)
        for part, following in zip(parts, parts[1:]))).split(b"\n")


def scan(text):
    """Yields (position, byte, quoted): inside quotes or comments or not."""
    quote = escape = False
    depth = 0
    for position, byte in enumerate(text):
        char = bytes([byte])
        if escape:
            escape = False
            yield position, char, True
            continue
        if char == b"\\" and (quote or depth):
            escape = True
        elif char == b'"' and not depth:
            quote = not quote
            yield position, char, True
            continue
        elif char == b"(" and not quote:
            depth += 1
        elif char == b")" and not quote and depth:
            depth -= 1
            yield position, char, True
            continue
        yield position, char, quote or depth > 0


def split_addresses(value):
    """The elements and what separates them, in order."""
    parts = []
    start = 0
    for position, char, quoted in scan(value):
        if char in (b",", b";", b":") and not quoted:
            parts += [value[start:position], char]
            start = position + 1
    return parts + [value[start:]]


def complete_one(element):
    plain = b"".join(char if not quoted else b"_"
                     for _, char, quoted in scan(element))
    if not plain.strip() or plain in (b",", b";", b":") or b"@" in plain or \
            b"<>" in plain.replace(b" ", b""):
        return element
    if b"<" in plain:
        close = plain.rindex(b">")
        return element[:close] + b"@HOST" + element[close:]
    bare = plain.replace(b"_", b" ").rstrip()
    return element[:len(bare)] + b"@HOST" + element[len(bare):]
