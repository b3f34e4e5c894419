"""A binary classifier as small as can be, by protocol v2: it says which version it is and what its request was told.

One that was asked to `die` does, and so does its container from then on. Needs the standard library alone.
"""

import json
import os
import pathlib
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DEAD = pathlib.Path("/tmp/dead")
if DEAD.exists():
    sys.exit("it was asked to die")


class Arm(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer({})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        told = asked.get("parameters", {})
        if told.get("die") == os.environ["CAPSTAN_VERSION"]:
            DEAD.touch()
            os._exit(1)
        output = {"name": "probability", "shape": [1], "datatype": "FP64", "data": [0.5]}
        self.answer({"model_name": os.environ["CAPSTAN_VERSION"], "outputs": [output], "parameters": told})

    def answer(self, document):
        content = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


Server(("", 3000), Arm).serve_forever()
