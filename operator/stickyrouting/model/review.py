"""What the API server asks a webhook, and how it is answered (Kubernetes API reference, admission.k8s.io/v1).

An Eviction comes as the body of a CREATE on ``pods/eviction``: labels of the pod are not in it.
"""

import msgspec

from stickyrouting.model.objects import Part

API_VERSION = "admission.k8s.io/v1"
KIND = "AdmissionReview"
TOO_MANY_REQUESTS = 429


class DeleteOptions(Part, frozen=True):
    """How the pod is to be deleted; ``dry_run`` holds "All" if it is only asked whether it could be."""

    dry_run: tuple[str, ...] | None = None


class EvictionMeta(Part, frozen=True):
    """Which pod an Eviction is about."""

    name: str = ""
    namespace: str = ""


class Eviction(Part, frozen=True):
    """An Eviction (policy/v1)."""

    metadata: EvictionMeta = EvictionMeta()
    delete_options: DeleteOptions | None = None


class ReviewRequest(Part, frozen=True):
    """One request that the API server is about to carry out."""

    uid: str
    namespace: str = ""
    name: str = ""
    operation: str = ""
    sub_resource: str = ""
    dry_run: bool | None = None
    object: Eviction | None = None

    @property
    def pod_name(self) -> str:
        """The pod that is to be evicted."""
        return self.name or (self.object.metadata.name if self.object else "")

    @property
    def is_eviction(self) -> bool:
        """True if a pod is to be evicted."""
        return (self.operation, self.sub_resource) == ("CREATE", "eviction")

    @property
    def is_dry(self) -> bool:
        """True if nothing would come of it: said by the request, or as kubectl does by the Eviction's own options."""
        options = self.object.delete_options if self.object else None
        return bool(self.dry_run) or bool(options and options.dry_run)


class ReviewStatus(Part, frozen=True, omit_defaults=True):
    """Why a request is refused, as the client gets it; without ``retryAfterSeconds`` kubectl tells the message."""

    message: str
    reason: str
    code: int


class ReviewResponse(Part, frozen=True, omit_defaults=True):
    """The answer to the request of that uid."""

    uid: str
    allowed: bool
    status: ReviewStatus | None = None


class _Question(Part, frozen=True):
    request: ReviewRequest


class _Answer(Part, frozen=True):
    api_version: str
    kind: str
    response: ReviewResponse


_questions = msgspec.json.Decoder(_Question)


def decode_review(body: bytes) -> ReviewRequest:
    """Return what is asked; raises :class:`msgspec.DecodeError` if the body is no review."""
    return _questions.decode(body).request


def encode_review(response: ReviewResponse) -> bytes:
    """Return the body of an answer."""
    return msgspec.json.encode(_Answer(API_VERSION, KIND, response))


def allow(request: ReviewRequest) -> ReviewResponse:
    """Return the answer that lets a request pass."""
    return ReviewResponse(request.uid, allowed=True)


def refuse(request: ReviewRequest, message: str) -> ReviewResponse:
    """Return the answer that refuses an eviction for now, as a budget does (429)."""
    status = ReviewStatus(message, "TooManyRequests", TOO_MANY_REQUESTS)
    return ReviewResponse(request.uid, allowed=False, status=status)
