"""Stands in for Seldon's executor before a graph of a router and its children, by protocol v2.

It asks what the real one was seen to ask (1.19.0-rc.1): the router as transformer, the router for the number of the
child, and the child; it logs a child's request before it asks, and the answer only if it is 200. It is ready while it
can connect to every node. GRAPH is the predictor's graph as JSON, each node with its `endpoint`. Needs the standard
library alone.
"""

import json
import os
import queue
import socket
import threading
import time
import urllib.error
import urllib.request
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GRAPH = json.loads(os.environ["GRAPH"])
EVENT = "io.seldon.serving.inference"
LOGGED = queue.Queue()


def ask(node, path, body, puid):
    host, port = node["endpoint"]["service_host"], node["endpoint"]["httpPort"]
    headers = {"Content-Type": "application/json", "Seldon-Puid": puid}
    request = urllib.request.Request(f"http://{host}:{port}{path}", body, headers)
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.read()


def is_ready():
    """As the source says: a connection to each node, no request; children first, and the first that fails ends it."""
    try:
        for node in (*GRAPH["children"], GRAPH):
            address = node["endpoint"]["service_host"], node["endpoint"]["httpPort"]
            socket.create_connection(address, timeout=50).close()
    except OSError as error:
        print(f"not ready: {node['name']}: {error}", flush=True)
        return False
    return True


def log(node, kind, body, puid):
    LOGGED.put(
        (
            node["logger"]["url"],
            body,
            {
                "Content-Type": "application/json",
                "Ce-Specversion": "1.0",
                "Ce-Id": str(uuid.uuid4()),
                "Ce-Type": f"{EVENT}.{kind}",
                "Ce-Requestid": puid,
                "Ce-Modelid": node["name"],
                "Ce-Inferenceservicename": os.environ["DEPLOYMENT"],
                "Ce-Endpoint": os.environ["PREDICTOR"],
                "Ce-Time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
                + f".{time.time_ns() % 10**9:09}Z",
            },
        )
    )


def send_logged():
    while True:
        url, body, headers = LOGGED.get()
        try:
            urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=5).close()
        except OSError as error:
            # The real one does not send again either.
            print(f"lost: {error}", flush=True)


class Executor(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        puid = self.headers.get("Seldon-Puid") or str(uuid.uuid4())
        try:
            status, content = 200, self.predicted(body, puid)
        except OSError as error:
            status, content = 500, json.dumps({"error": str(error)}).encode()
        self.answer(status, content)

    def do_GET(self):
        self.answer(200 if is_ready() else 503, b"{}")

    def predicted(self, body, puid):
        body = ask(GRAPH, self.path, body, puid)
        [number] = json.loads(ask(GRAPH, self.path.removesuffix("infer") + "route", body, puid))
        child = GRAPH["children"][number]
        log(child, "request", body, puid)
        answer = ask(child, self.path, body, puid)
        log(child, "response", answer, puid)
        return answer

    def answer(self, status, content):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


threading.Thread(target=send_logged, daemon=True).start()
Server(("", 8000), Executor).serve_forever()
