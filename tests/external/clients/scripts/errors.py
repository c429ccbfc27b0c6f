"""Sends requests, given as JSON: a list of [class of the exception, operation, request].
Each must fail with that class, and its exception is printed as a line of JSON."""

import json
import sys

import boto3
from botocore import xform_name
from botocore.config import Config

service, endpoint, cases = sys.argv[1:]
client = boto3.client(service, endpoint_url=endpoint, config=Config(retries={"total_max_attempts": 1}))

for exception, operation, request in json.loads(cases):
    try:
        getattr(client, xform_name(operation))(**request)
    except getattr(client.exceptions, exception) as error:
        metadata = error.response["ResponseMetadata"]
        print(
            json.dumps(
                {
                    "class": type(error).__name__,
                    "code": error.response["Error"]["Code"],
                    "message": error.response["Error"]["Message"],
                    "status": metadata["HTTPStatusCode"],
                    "requestId": metadata["RequestId"],
                }
            )
        )
    else:
        sys.exit(f"{operation} {request} does not fail")
