"""Copies the stack's backups between standard input or output and the bucket: `bucket.py put KEY | get KEY | list`.

In the platform's container, which has boto3 and the rights, so that the machine needs neither.
"""

import os
import sys

import boto3

PREFIX = "backups/"


def main(verb: str, key: str = "") -> None:
    """Write or read one object, or print the keys there are, the oldest first."""
    bucket = boto3.resource("s3").Bucket(os.environ["BUCKET"])
    match verb:
        case "put":
            bucket.upload_fileobj(sys.stdin.buffer, PREFIX + key)
        case "get":
            bucket.download_fileobj(PREFIX + key, sys.stdout.buffer)
        case "list":
            print(*sorted(found.key.removeprefix(PREFIX) for found in bucket.objects.filter(Prefix=PREFIX)), sep="\n")
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
