"""Reads a repository with the paginator, and prints as JSON how many images every page
had, and the digest and tags of each image."""

import json
import sys

import boto3

service, endpoint, repository, page_size = sys.argv[1:]
paginator = boto3.client(service, endpoint_url=endpoint).get_paginator("describe_images")
configuration = {} if page_size == "default" else {"PageSize": int(page_size)}

counts = []
images = []
for page in paginator.paginate(repositoryName=repository, PaginationConfig=configuration):
    counts.append(len(page["imageDetails"]))
    images += [[image["imageDigest"], image.get("imageTags", [])] for image in page["imageDetails"]]
print(json.dumps({"pages": counts, "images": images}))
