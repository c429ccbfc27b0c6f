"""Prints the sizes of a repository's images: describe_images.py SERVICE REPOSITORY [ENDPOINT]"""

import sys

import boto3
from botocore.exceptions import ClientError

service, repository, *endpoint = sys.argv[1:]
client = boto3.client(service, endpoint_url=endpoint[0] if endpoint else None)
try:
    images = client.describe_images(repositoryName=repository)["imageDetails"]
except ClientError as error:
    sys.exit(str(error))
print(*(image["imageSizeInBytes"] for image in images), sep="\t")
