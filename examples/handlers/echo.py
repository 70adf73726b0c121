#!/usr/bin/env python3
"""A back end for `mainstay server --handler 'exec:python3 examples/handlers/echo.py'`.

One JSON object a line comes in on stdin: {"id", "key", "session", "principal", "connection",
"deadline_ms", "command", "payload"}. One a line goes out on stdout, in any order: {"id", "result"} or {"id", "error"}. "key" is the
same however often a request is sent: give it to whatever must do a thing only once.
"""

import json
import sys

for line in sys.stdin:
    request = json.loads(line)
    if "cancel" in request:  # Nobody waits for this one any more; it was done already.
        continue
    answer = {"id": request["id"]}
    if request["command"] == "fail":
        answer["error"] = "as you wish"
    else:
        answer["result"] = {"command": request["command"], "payload": request.get("payload")}
    print(json.dumps(answer), flush=True)
