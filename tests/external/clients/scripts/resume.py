"""Reads a repository in pieces of at most MaxItems images, each piece with a paginator
that starts at the token that the piece before ended with. Prints the tags of the
images of each piece as a line of JSON."""

import json
import sys

import boto3

service, endpoint, repository, max_items, page_size = sys.argv[1:]
client = boto3.client(service, endpoint_url=endpoint)

configuration = {"MaxItems": int(max_items), "PageSize": int(page_size)}
while True:
    pages = client.get_paginator("describe_images").paginate(
        repositoryName=repository, PaginationConfig=configuration
    )
    piece = pages.build_full_result()
    print(json.dumps([image.get("imageTags", []) for image in piece["imageDetails"]]))
    if "NextToken" not in piece:
        break
    configuration["StartingToken"] = piece["NextToken"]
