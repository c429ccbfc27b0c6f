"""Reads a repository of both services page by page, and the image of a tag, with aioboto3.
Prints both as JSON."""

import asyncio
import json
import sys

import aioboto3

repository, tag = sys.argv[1:]


def details(image):
    return {
        "digest": image["imageDigest"],
        "tags": image.get("imageTags", []),
        "size": image["imageSizeInBytes"],
        "pushedAt": int(image["imagePushedAt"].timestamp()),
        "mediaType": image["imageManifestMediaType"],
    }


async def read(service):
    async with aioboto3.Session().client(service) as client:
        pages = client.get_paginator("describe_images").paginate(repositoryName=repository)
        images = [details(image) async for page in pages for image in page["imageDetails"]]
        ids = [{"imageTag": tag}]
        found = await client.describe_images(repositoryName=repository, imageIds=ids)
        return {"pages": images, "byTag": details(found["imageDetails"][0])}


async def both():
    return await asyncio.gather(read("ecr"), read("ecr-public"))


print(json.dumps(asyncio.run(both())))
