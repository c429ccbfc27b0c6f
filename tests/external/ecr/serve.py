"""Serves moto's Amazon ECR on a port, with images in it from the start.

serve.py PORT REPOSITORIES IMAGES: of the images of each repository, every tenth has no tag, and every
hundredth has two. They were pushed a second apart, in 2026.
"""

import hashlib
import json
import signal
import sys

from moto.ecr.models import ecr_backends
from moto.server import ThreadedMotoServer

ACCOUNT, REGION = "123456789012", "us-east-1"
CONFIGURATION = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:" + "0" * 64}
LAYER = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": "sha256:" + "1" * 64, "size": 1}
FIRST = 1767225600

port, repositories, images = map(int, sys.argv[1:])
backend = ecr_backends[ACCOUNT][REGION]
for number in range(repositories):
    name = f"team/app-{number:02}"
    backend.create_repository(name, ACCOUNT, None, None, "MUTABLE", [])
    for image_number in range(images):
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            # moto gives the configuration's size for that of the image.
            "config": CONFIGURATION | {"size": 1000 + image_number},
            "layers": [LAYER],
            "annotations": {"name": f"{number}/{image_number}"},
        }
        manifest = json.dumps(manifest)
        digest = "sha256:" + hashlib.sha256(manifest.encode()).hexdigest()
        image = backend.put_image(name, manifest, f"v{image_number}", digest=digest)
        image.image_pushed_at = FIRST + image_number
        if image_number % 10 == 9:
            image.remove_tag(f"v{image_number}")
        if image_number % 100 == 0:
            image.update_tag(f"release-{image_number}")

server = ThreadedMotoServer(ip_address="127.0.0.1", port=port)
server.start()
signal.sigwait({signal.SIGTERM, signal.SIGINT})
