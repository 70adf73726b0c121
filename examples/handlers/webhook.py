#!/usr/bin/env python3
"""A back end for `mainstay server --handler http://127.0.0.1:9000/`; start it with the port.

Each request is a POST of one JSON object: {"key", "session", "principal", "connection", "deadline_ms",
"command", "payload"}. 2xx with JSON is its result, 4xx with a text says why not. Idempotency-Key is the
same however often a request comes (with `--handler-retry idempotent` it may come again): what was done
for it is remembered here and not done again.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

done = {}  # A real service has this in its database, with what it does.


class Commands(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # The server keeps its connections.

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.headers["Idempotency-Key"]  # None in the command dialect, which never sends again.
        if request["command"] == "fail":
            return self.answer(422, "text/plain", "as you wish")
        result = done.get(key) or {"command": request["command"], "payload": request.get("payload")}
        if key:
            done[key] = result
        self.answer(200, "application/json", json.dumps(result))

    def answer(self, status, kind, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Commands)
print("listening on port", server.server_port, flush=True)
server.serve_forever()
