"""Reads a repository with the paginator, once for each page size, and prints a line
of JSON for each: how many images every page had, and the images."""

import json
import sys

import boto3

service, endpoint, repository, *page_sizes = sys.argv[1:]
paginator = boto3.client(service, endpoint_url=endpoint).get_paginator("describe_images")

for page_size in page_sizes:
    configuration = {} if page_size == "default" else {"PageSize": int(page_size)}
    pages = paginator.paginate(repositoryName=repository, PaginationConfig=configuration)
    details = [page["imageDetails"] for page in pages]
    images = [[image["imageDigest"], image.get("imageTags", [])] for page in details for image in page]
    print(json.dumps({"pages": [len(page) for page in details], "images": images}))
