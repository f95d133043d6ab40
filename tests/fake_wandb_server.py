"""A W&B server on the loopback address, just large enough for the real client: it keeps what it is told."""

import gzip
import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DIES_AFTER = 4  # requests
AWAY_SECONDS = 3  # of a server that comes back


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        fault = self.server.fault
        self.server.requests += 1
        if fault == "hangs":
            self.server.over.wait(60)
            return
        if self.is_gone():
            self.send_error(500)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path == "/graphql":
            self.answer({"data": self.query(json.loads(body))})
        elif self.path.endswith("/file_stream"):
            self.stream(self.path.split("/")[-2], json.loads(body))
            self.answer({"limits": {}})
        else:
            self.answer({})

    def is_gone(self):
        server = self.server
        if server.fault not in ("dies", "comes back") or server.requests <= DIES_AFTER:
            return server.fault == "fails"
        server.died = server.died or time.monotonic()
        return server.fault == "dies" or time.monotonic() - server.died < AWAY_SECONDS

    def do_PUT(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.answer({})

    def query(self, request):
        text, given = request["query"], request.get("variables") or {}
        if "upsertBucket" in text:
            return {"upsertBucket": {"bucket": self.bucket(given), "inserted": True}}
        if "ServerFeaturesQuery" in text:
            return {"serverInfo": {"features": []}}
        if "createRunFiles" in text:
            files = [{"name": name, "uploadUrl": f"http://{self.headers['Host']}/upload"} for name in given["files"]]
            return {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": files}}
        if "viewer" in text:
            viewer = {"id": "1", "entity": "me", "username": "me", "email": "", "flags": "{}", "teams": {"edges": []}}
            return {"viewer": viewer, "serverInfo": {"cliVersionInfo": {}, "features": []}}
        if "createArtifact" in text and self.server.fault != "answers nonsense":
            self.server.artifacts.append(given["input"]["artifactCollectionName"])
            sequence = {"id": "1", "latestArtifact": {"id": "1", "versionIndex": 0}}
            return {"createArtifact": {"artifact": {"id": "1", "state": "COMMITTED", "artifactSequence": sequence}}}
        if "ProjectInternalId" in text:
            return {"project": {"internalId": "UHJvamVjdEludGVybmFsSWQ6MQ=="}}
        if "upsertView" in text:
            self.server.views.append(given)
            project = {"id": "1", "name": given["projectName"], "entityName": given["entityName"]}
            kept = {key: given[key] for key in ("name", "displayName", "description", "spec", "type")}
            return {"upsertView": {"view": {**kept, "id": "VmlldzoxMjM=", "project": project}, "inserted": True}}
        if "projects" in text.lower():
            return {"models": {"edges": [], "pageInfo": {"endCursor": None, "hasNextPage": False}}}
        return {"project": None}  # of types of artifacts it knows none

    def bucket(self, given):
        run = self.server.runs.setdefault(given["name"], {"history": [], "exit": None})
        run |= {key: value for key, value in given.items() if value is not None}
        project = {"id": "1", "name": given.get("project"), "entity": {"id": "1", "name": "me"}}
        return {"id": "1", "name": given["name"], "displayName": given.get("displayName"), "project": project}

    def stream(self, name, told):
        run = self.server.runs.setdefault(name, {"history": [], "exit": None})
        for line in (told.get("files") or {}).get("wandb-history.jsonl", {}).get("content", []):
            run["history"].append(json.loads(line))
        if told.get("complete"):
            run["exit"] = told.get("exitcode")

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_error(self, *_):
        pass

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 64  # the client uploads many files at once; refused, it waits two seconds


@contextmanager
def wandb_server(fault=None):
    """(address, server): `runs` holds what each run, by its id, has sent; `artifacts` names; `views` reports."""
    with Server(("127.0.0.1", 0), Handler) as server:
        server.fault, server.requests, server.died, server.over = fault, 0, None, threading.Event()
        server.runs, server.artifacts, server.views = {}, [], []
        server.handle_error = lambda *_: None  # the client, which was killed or gave up, has hung up
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", server
        server.over.set()
        server.shutdown()
