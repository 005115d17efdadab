# SPDX-License-Identifier: Apache-2.0
"""A proxy in front of the real kube-apiserver that does what networks, load balancers and overloaded servers do.

TLS on both sides: a certificate authority of its own towards the client, the administrator's certificate towards the server.
The client shows a bearer token, so that tokens can be rotated. HTTP/1.1, which is what the controller speaks.

A test gives it rules: Rule(match, action, times). The first rule that matches a request and has times left decides; without
one the request is passed on. Every request is counted."""
import collections
import contextlib
import http.client
import json
import os
import re
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
import urllib.parse

from kube import free_port

Request = collections.namedtuple("Request", "method path query headers body kind resource namespace name")
PATH = re.compile(r"^/apis?/(?:v1|[^/]+/[^/]+)(?:/namespaces/([^/]+)(?=/))?/([^/]+)(?:/([^/]+))?(?:/([^/]+))?$")


def openssl(directory, *argv):
    subprocess.run(["openssl", *argv], cwd=directory, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Authority:
    """A certificate authority, and server certificates for 127.0.0.1 and apiserver.test signed by it."""

    def __init__(self, name):
        self.directory = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.directory.name, "ca.crt")
        openssl(self.directory.name, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
                "ca.key", "-out", "ca.crt", "-days", "30", "-subj", "/CN=" + name)
        self.issued = 0

    def issue(self):
        """A new certificate and its key in one file; returns its path."""
        self.issued += 1
        d, name = self.directory.name, "server%d" % self.issued
        with open(os.path.join(d, "names"), "w") as f:
            f.write("subjectAltName=DNS:apiserver.test,IP:127.0.0.1\n")
        openssl(d, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", name + ".key", "-out",
                name + ".csr", "-subj", "/CN=localhost")
        openssl(d, "x509", "-req", "-in", name + ".csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-out", name + ".crt",
                "-days", "7", "-extfile", "names")
        pem = os.path.join(d, name + ".pem")
        with open(pem, "w") as to:
            for part in (".crt", ".key"):
                with open(os.path.join(d, name + part)) as f:
                    to.write(f.read())
        return pem

    def text(self):
        with open(self.path) as f:
            return f.read()


class Cut(Exception):
    """The connection is to be cut off now."""


class Rule:
    def __init__(self, match, action, times=1 << 30):
        self.match, self.action, self.times, self.hits = match, action, times, 0


class Proxy:
    def __init__(self, api, authority):
        self.api, self.authority, self.port = api, authority, free_port()
        self.token = "first"
        self.lock = threading.Lock()
        self.rules = []
        self.requests = []  # (time, Request, status or 0)
        self.connections = set()
        self.accepted = 0
        self.listener = None
        self.hang_up = False  # accept, and cut at once: what a dead server behind a live address looks like
        self.certify()

    def certify(self):
        """A new certificate of the same authority, for connections from now on."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.authority.issue())
        self.context = context

    def up(self, address="127.0.0.1"):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, self.port))
        listener.listen(64)
        self.listener = listener
        threading.Thread(target=self.accept, args=(listener,), daemon=True).start()
        return self

    def accept(self, listener):
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            self.accepted += 1
            if self.hang_up:
                reset(plain)
                continue
            threading.Thread(target=self.serve, args=(plain,), daemon=True).start()

    def down(self):
        """Nothing listens any more, and what is open is cut."""
        if self.listener:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None
        self.cut_all()

    def cut_all(self):
        with self.lock:
            connections, self.connections = self.connections, set()
        for c in connections:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(c, socket.SHUT_RDWR)  # TCP's, without a word of TLS; its thread closes it

    def kubeconfig(self, directory, host="127.0.0.1"):
        """Writes one with files beside it, which a test then replaces: ca.crt, token."""
        replace(directory, "ca.crt", self.authority.text())
        replace(directory, "token", self.token)
        path = os.path.join(directory, "kubeconfig")
        with open(path, "w") as f:
            json.dump({"apiVersion": "v1", "kind": "Config", "current-context": "x", "contexts": [
                {"name": "x", "context": {"cluster": "x", "user": "x"}}], "clusters": [{"name": "x", "cluster": {
                    "server": "https://%s:%d" % (host, self.port), "certificate-authority": os.path.join(directory, "ca.crt")}}],
                "users": [{"name": "x", "user": {"tokenFile": os.path.join(directory, "token")}}]}, f)
        return path

    def rule(self, match, action, times=1 << 30):
        r = Rule(match, action, times)
        with self.lock:
            self.rules.append(r)
        return r

    def clear(self):
        with self.lock:
            self.rules = []

    def count(self, match=lambda r: True, since=0.0):
        with self.lock:
            return sum(1 for at, r, _ in self.requests if at >= since and match(r))

    def seen(self, match, since):
        """The same, in words: "PATCH stoppablecontainers/status box 0.012 s later"."""
        with self.lock:
            return ["%s %s %s %.3f s later" % (r.method, r.resource, r.name, at - since)
                    for at, r, _ in self.requests if at >= since and match(r)]

    def choose(self, request):
        with self.lock:
            for rule in self.rules:
                if rule.hits < rule.times and rule.match(request):
                    rule.hits += 1
                    return rule.action
        return Exchange.relay

    def serve(self, plain):
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client = self.context.wrap_socket(plain, server_side=True)
        except OSError:
            plain.close()
            return
        with self.lock:
            self.connections.add(client)
        reader = client.makefile("rb")
        try:
            while True:
                request = read_request(reader)
                if not request:
                    break
                exchange = Exchange(self, client, request)
                action = self.choose(request)
                if request.headers.get("authorization") != "Bearer " + self.token:
                    action = answer(401)
                with self.lock:
                    self.requests.append((time.monotonic(), request, 0))
                action(exchange)
                if exchange.close:
                    break
        except (Cut, OSError, http.client.HTTPException, ValueError):
            pass
        finally:
            with self.lock:
                self.connections.discard(client)
            reader.close()
            reset(client)


def replace(directory, name, text):
    """As the kubelet does: the file is another one at once."""
    path = os.path.join(directory, name)
    with open(path + ".new", "w") as f:
        f.write(text)
    os.rename(path + ".new", path)


def reset(s):
    """Ends a connection with RST."""
    with contextlib.suppress(OSError):
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(OSError):
        s.close()


def read_request(reader):
    line = reader.readline(65536).decode("latin-1").split()
    if len(line) != 3:
        return None
    headers = http.client.parse_headers(reader)
    body = reader.read(int(headers.get("content-length", 0)))
    url = urllib.parse.urlsplit(line[1])
    query = dict(urllib.parse.parse_qsl(url.query))
    found = PATH.match(url.path)
    namespace, resource, name, sub = found.groups() if found else (None, url.path, None, None)
    if line[0] == "POST" and body:
        name = json.loads(body)["metadata"].get("name")
    kind = "watch" if "watch" in query else ("get" if name else "list") if line[0] == "GET" else "write"
    return Request(line[0], url.path, query, headers, body, kind, resource + ("/" + sub if sub else ""), namespace, name)


class Exchange:
    """One request, and the ways to answer it."""

    def __init__(self, proxy, client, request):
        self.proxy, self.client, self.request, self.close = proxy, client, request, False

    def upstream(self):
        r = self.request
        connection = self.proxy.api.connect(timeout=900)
        headers = {k: v for k, v in r.headers.items() if k.lower() in ("content-type", "accept", "user-agent")}
        url = r.path + ("?" + urllib.parse.urlencode(r.query) if r.query else "")
        connection.request(r.method, url, body=r.body or None, headers=headers)
        return connection, connection.getresponse()

    def fetch(self):
        """Has the request executed: status, headers, body."""
        connection, response = self.upstream()
        body = response.read()
        connection.close()
        return response.status, response.headers, body

    def send(self, data):
        self.client.sendall(data)

    def reply(self, status, body, headers=(), kind="application/json"):
        self.send(head(status, ["Content-Type: " + kind, "Content-Length: %d" % len(body), *headers]) + body)

    def relay(self):
        if self.request.kind == "watch":
            self.stream(lambda line: self.chunk(line))
            return
        status, headers, body = self.fetch()
        more = ["Retry-After: " + headers["Retry-After"]] if "Retry-After" in headers else []
        self.reply(status, body, more)

    def stream(self, each):
        """Passes a watch on, line by line, and notices when the client has gone."""
        connection, response = self.upstream()
        try:
            self.send(head(response.status, ["Content-Type: application/json", "Transfer-Encoding: chunked"]))
            for line in response:
                each(line)
            self.send(b"0\r\n\r\n")
        finally:
            if connection.sock:
                connection.sock.close()
            connection.close()

    def chunk(self, data):
        self.send(b"%x\r\n%s\r\n" % (len(data), data))


def head(status, headers):
    return ("HTTP/1.1 %d %s\r\n%s\r\n\r\n" % (status, http.client.responses.get(status, "Odd"), "\r\n".join(headers))).encode()


# The faults: each is what a Rule does with an Exchange.

def answer(status, headers=(), message="made by the proxy", reason="", execute=False):
    def act(x):
        if execute:
            x.fetch()
        body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": status, "message": message,
                "reason": reason}
        x.reply(status, json.dumps(body).encode(), headers)
    return act


def text(status, body, kind="text/html", execute=False):
    def act(x):
        if execute:
            x.fetch()
        x.reply(status, body, kind=kind)
    return act


def cut_before(x):
    raise Cut


def cut_after(x):
    """The write was executed and nobody says so."""
    x.fetch()
    raise Cut


def cut_in_header(x):
    status, _, _ = x.fetch()
    x.send(head(status, ["Content-Type: application/json"])[:40])
    raise Cut


def cut_in_body(x):
    status, _, body = x.fetch()
    x.send(head(status, ["Content-Type: application/json", "Content-Length: %d" % len(body)]) + body[:len(body) // 2])
    raise Cut


def trickle(x):
    """The answer in small pieces over one second."""
    status, _, body = x.fetch()
    data = head(status, ["Content-Type: application/json", "Content-Length: %d" % len(body)]) + body
    step = max(1, len(data) // 30)
    for i in range(0, len(data), step):
        x.send(data[i:i + step])
        time.sleep(0.03)


def chunked(x):
    """The same answer in chunks, one byte in the first."""
    status, _, body = x.fetch()
    x.send(head(status, ["Content-Type: application/json", "Transfer-Encoding: chunked"]))
    for part in (body[:1], body[1:7], body[7:]):
        if part:
            x.chunk(part)
    x.send(b"0\r\n\r\n")


def huge(mebibytes):
    """A JSON object that goes on and on."""
    def act(x):
        x.fetch()
        x.send(head(200, ["Content-Type: application/json", "Content-Length: %d" % ((mebibytes << 20) + 8)]) + b'{"a":"')
        for _ in range(mebibytes):
            x.send(b"x" * (1 << 20))
        x.send(b'"}')
    return act


def watch_of(*lines, then_cut=False):
    """A watch that says only this."""
    def act(x):
        x.send(head(200, ["Content-Type: application/json", "Transfer-Encoding: chunked"]))
        for line in lines:
            for i in range(0, len(line), 1 << 20):
                x.chunk(line[i:i + (1 << 20)])
        if then_cut:
            raise Cut
        x.send(b"0\r\n\r\n")
    return act


def watch_cut_in_line(x):
    """Passes on until the first event, of which only half arrives."""
    def half(line):
        x.chunk(line[:len(line) // 2])
        raise Cut
    x.stream(half)


def watch_cut_in_header(x):
    connection, _ = x.upstream()
    connection.close()
    x.send(head(200, ["Content-Type: application/json"])[:30])
    raise Cut
