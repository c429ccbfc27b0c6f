"""Lists the images of a repository of both services with boto3, through the API of access keys:
access_keys.py FUNCTION ENDPOINT REPOSITORY

FUNCTION is the address that invokes the function, ENDPOINT that of the API, to which nothing is
sent. Prints the digests of each service.
"""

import base64
import json
import sys
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import boto3
from botocore.awsrequest import AWSResponse

function, endpoint, repository = sys.argv[1:]


class Raw:
    def __init__(self, body):
        self.body = body

    def stream(self, **_):
        yield self.body


def forward(request, **_):
    """Sends the event that API Gateway would send, and returns the response that it would return."""
    url = urlsplit(request.url)
    headers = {}
    for name, value in request.headers.items():
        value = value.decode() if isinstance(value, bytes) else str(value)
        name = name.lower()
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    headers |= {"host": url.netloc, "x-forwarded-proto": "https", "x-amzn-trace-id": "Root=1-6b0"}
    body = request.body if isinstance(request.body, bytes) else request.body.encode()
    event = {
        "version": "2.0",
        "routeKey": "POST /",
        "rawPath": url.path,
        "rawQueryString": url.query,
        "headers": headers,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "k3y5k3y5k3",
            "domainName": url.netloc,
            "http": {
                "method": request.method,
                "path": url.path,
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": headers["user-agent"],
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "POST /",
            "stage": "$default",
            "time": "22/Nov/2026:00:00:00 +0000",
            "timeEpoch": 1795305600000,
        },
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }
    with urlopen(Request(function, json.dumps(event).encode())) as response:
        response = json.load(response)
    raw = Raw(response["body"].encode())
    return AWSResponse(request.url, response["statusCode"], response["headers"], raw)


digests = {}
for service in ["ecr", "ecr-public"]:
    client = boto3.client(service, endpoint_url=endpoint)
    client.meta.events.register(f"before-send.{service}", forward)
    pages = client.get_paginator("describe_images").paginate(
        repositoryName=repository, PaginationConfig={"PageSize": 2}
    )
    digests[service] = [image["imageDigest"] for page in pages for image in page["imageDetails"]]
print(json.dumps(digests))
