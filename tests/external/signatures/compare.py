"""Sends random signed requests to a catalog, and prints where its decision is not the verifier's.

compare.py URL CALLERS REGION SEED NUMBER; CALLERS is the JSON of the catalog's file of callers."""

import collections
import datetime
import http.client
import json
import random
import socket
import sys

from cases import CHANGES, Case
from verifier import error_of

# The errors that are decided before the request itself is looked at.
ERRORS = {
    "MissingAuthenticationTokenException",
    "IncompleteSignatureException",
    "UnrecognizedClientException",
    "ExpiredTokenException",
    "InvalidSignatureException",
}


def send(connection, request):
    """Sends a request byte for byte; returns the status and the name of the error."""
    lines = [f"{request.method} ".encode() + request.target + b" HTTP/1.1"]
    lines += [name.encode() + b": " + value for name, value in request.headers]
    lines += [f"Content-Length: {len(request.body)}".encode(), b"", request.body]
    connection.sendall(b"\r\n".join(lines))
    response = http.client.HTTPResponse(connection, method=request.method)
    response.begin()
    response.read()
    return response.status, response.headers["x-amzn-errortype"]


def main(url, callers, region, seed, number):
    callers = json.loads(callers)
    generator = random.Random(int(seed))
    address = url.removeprefix("http://").split(":")
    report = {"sent": 0, "served": 0, "errors": collections.Counter(), "differences": []}
    # By change and signing.
    report["changes"] = {change: {} for change in CHANGES}
    with socket.create_connection(address) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for index in range(int(number)):
            case = Case(generator, callers, url, region, index)
            request = case.make()
            now = datetime.datetime.now(datetime.timezone.utc)
            expected = error_of(request, callers, region, now)
            status, error = send(connection, request)
            decision = error if error in ERRORS else None
            if decision != expected or status >= 500:
                difference = [index, case.signing, case.change, expected, status, error]
                report["differences"].append([*difference, repr(request)])
            report["sent"] += 1
            report["served"] += status == 200
            report["errors"][str(expected)] += 1
            outcome = "accepted" if expected is None else "refused"
            signings = report["changes"][case.change]
            signings.setdefault(case.signing, collections.Counter())[outcome] += 1
    print(json.dumps(report))


main(*sys.argv[1:])
