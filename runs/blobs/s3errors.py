"""What boto3 raises, as errors of the blob store that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from runs.blobs.base import BlobError, BlobMissing, BlobStoreUnavailable

ABSENT = frozenset({"NoSuchKey", "404", "NotFound"})
WRONG_KEY = "Look at the access key and its rights: it needs to get, put, delete and list."
WAYS_OUT = {
    "NoSuchBucket": "Make the bucket, or correct RLMWEB_BLOB_STORE_URL.",
    "AccessDenied": WRONG_KEY,
    "403": WRONG_KEY,
    "Forbidden": WRONG_KEY,
    "InvalidAccessKeyId": WRONG_KEY,
    "SignatureDoesNotMatch": WRONG_KEY,
    "ExpiredToken": "Renew the credentials.",
    "PermanentRedirect": "Give the bucket's region in RLMWEB_BLOB_STORE_URL.",
    "AuthorizationHeaderMalformed": "Give the bucket's region in RLMWEB_BLOB_STORE_URL.",
    "RequestTimeTooSkewed": "Set the clock of this machine.",
}
LATER = "Try again; look at the network and at the endpoint in RLMWEB_BLOB_STORE_URL."


@contextmanager
def told(url: str, sha256: str = "") -> Iterator[None]:
    """`sha256`: an answer that something is not there is about this content."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

    try:
        yield
    except ClientError as error:
        raise _of_answer(error.response.get("Error", {}), url, sha256) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise BlobStoreUnavailable(
            f"There is no access key for {url}.", "Set RLMWEB_BLOB_STORE_ACCESS_KEY and RLMWEB_BLOB_STORE_SECRET_KEY."
        ) from error
    except (BotoCoreError, Boto3Error, OSError) as error:
        raise BlobStoreUnavailable(f"{url} cannot be reached: {type(error).__name__}.", LATER) from error


def _of_answer(answer: dict[str, str], url: str, sha256: str) -> BlobError:
    code = str(answer.get("Code", ""))[:80]
    if sha256 and code in ABSENT:
        return BlobMissing(f"no content {sha256} in the blob store")
    return BlobStoreUnavailable(f"{url} refused with {code or 'an answer without a code'}.", WAYS_OUT.get(code, LATER))
