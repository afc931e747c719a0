"""Makes what a cluster is made of (Kubernetes, CoreDNS, a Debian root, images) once and keeps it in the cache.

Law: an artefact is named by a hash of its inputs, made in a temporary folder and renamed when complete, so that an
interrupted build is never taken for a result.
"""
