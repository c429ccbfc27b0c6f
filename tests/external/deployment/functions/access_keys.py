"""Lists the images of a repository of both services with boto3: access_keys.py ENDPOINT REPOSITORY

Prints the digests of each service.
"""

import json
import sys

import boto3

endpoint, repository = sys.argv[1:]
digests = {}
for service in ["ecr", "ecr-public"]:
    client = boto3.client(service, endpoint_url=endpoint)
    pages = client.get_paginator("describe_images").paginate(
        repositoryName=repository, PaginationConfig={"PageSize": 2}
    )
    digests[service] = [image["imageDigest"] for page in pages for image in page["imageDetails"]]
print(json.dumps(digests))
