"""The only importer of the ``kubernetes`` client: apply, patch, status, lease, live reads, errors.

Law: one function per verb, each with a timeout; errors of the API become ours here. Nothing is decided here.
"""
