"""What schemathesis needs to know of hearth: where things are that exist, what must not be waited for, and what every answer promises besides
its schema. Loaded by scripts/api-fuzz.sh; asks the server of HEARTH_URL with HEARTH_TOKEN. Owns the stock: images and VMs that requests find
and act on; what a request deleted or renamed is made again."""

import hashlib
import json
import os
import re
import threading
import time
import urllib.error
import urllib.request

import schemathesis

URL = os.environ["HEARTH_URL"]
TOKEN = os.environ["HEARTH_TOKEN"]
VMS = [f"stock-{n}" for n in range(4)]
FOLDER = os.environ["HEARTH_STOCK"]
# Of all requests that name a thing, so many in four name one that there is.
KNOWN_OF_FOUR = 3
# Streams end by themselves only after the request's time is up; they have tests of their own (tests/tests/hostile.rs).
WAIT_MAX_S = 1
# Operations of a server without guests end within milliseconds.
STOCK_WITHIN_S = 20
stocking = threading.Lock()


def ask(method, path, body=None):
    """The status and the document; a refusal is an answer too."""
    request = urllib.request.Request(URL + path, method=method, headers={"Authorization": f"Bearer {TOKEN}"})
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as refused:
        return refused.code, json.loads(refused.read() or b"null")


def stock():
    """Makes what is missing; half of the VMs run."""
    with stocking:
        for name, kind, file in (("kernel", "kernel", "vmlinux"), ("rootfs", "rootfs", "rootfs.ext4")):
            spec = {"kind": kind, "path": f"{FOLDER}/{file}", "default": kind == "kernel"}
            make("images", name, {"name": name, "spec": spec})
        for number, name in enumerate(VMS):
            # By its name: a request may have taken from the kernel that it is the default.
            spec = {"vcpus": 1, "mem_mib": 128, "kernel": "kernel", "image": "rootfs", "networks": []}
            make("vms", name, {"name": name, "spec": spec, "start": number % 2 == 0})


def make(kind, name, body):
    until = time.monotonic() + STOCK_WITHIN_S
    while ask("GET", f"/v1/{kind}/{name}")[0] == 404:
        status, answer = ask("POST", f"/v1/{kind}?wait=10", body)
        if status == 200:
            return
        # What a request has begun may be in the way until it has ended: an image that is being deleted, a VM's name.
        assert status in (409, 422) and time.monotonic() < until, f"the stock can't be made: {answer}"
        # A host that a request has cordoned takes no VM.
        if answer["code"] == "host-cordoned":
            ask("POST", f"/v1/hosts/{names('hosts')[0]}/uncordon")
        time.sleep(0.05)


def names(kind):
    items = ask("GET", f"/v1/{kind}?limit=8")[1]["items"]
    return [item.get("name", item["id"]) for item in items] + [item["id"] for item in items]


def number_of(text):
    """The same for the same text, in every run: a seed must give the same requests."""
    return int.from_bytes(hashlib.sha256(str(text).encode()).digest()[:4], "big")


stock()
KNOWN = {"vms": VMS, "images": ["kernel", "rootfs"]} | {kind: names(kind) for kind in ("hosts", "operations")}


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Mostly something that exists."""
    if not path_parameters or "id" not in path_parameters:
        return path_parameters
    drawn = number_of(path_parameters["id"])
    known = KNOWN.get(context.operation.path.split("/")[2], [])
    if known and drawn % 4 < KNOWN_OF_FOUR:
        path_parameters["id"] = known[drawn // 4 % len(known)]
    return path_parameters


@schemathesis.hook
def map_query(context, query):
    if query:
        if context.operation.path.endswith("/logs") and str(query.get("follow")).lower() in ("true", "1", ""):
            query["follow"] = "false"
        if str(query.get("wait", "")).isdigit() and int(query["wait"]) > WAIT_MAX_S:
            query["wait"] = WAIT_MAX_S if int(query["wait"]) <= 300 else 301
    return query


@schemathesis.hook
def after_call(context, case, response):
    if case.method.upper() in ("DELETE", "PATCH") and response.status_code in (200, 202):
        stock()


@schemathesis.check
def a_refusal_is_a_whole_problem(ctx, response, case):
    """Every refusal of the API: its code, what to do, and an id to quote, the one in the header."""
    if response.status_code < 400 or case.method.upper() == "HEAD":
        return
    problem = response.json()
    assert response.headers["content-type"][0] == "application/problem+json", response.headers["content-type"]
    assert problem["status"] == response.status_code
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", problem["code"]), problem["code"]
    assert problem["detail"] and problem.get("hint"), "a refusal says what happened and what to do"
    assert [problem["request_id"]] == response.headers["x-request-id"]
    assert response.status_code != 503 or response.headers.get("retry-after"), "busy, and no Retry-After"
    assert response.status_code != 405 or response.headers.get("allow"), "another method, and no Allow"


@schemathesis.check
def what_exists_has_a_tag(ctx, response, case):
    """An answer with one resource carries its generation as ETag."""
    if response.status_code not in (200, 202) or "json" not in response.headers["content-type"][0]:
        return
    document = response.json()
    if isinstance(document, dict) and "generation" in document and "spec" in document:
        assert response.headers["etag"] == [f'"{document["generation"]}"'], response.headers.get("etag")
