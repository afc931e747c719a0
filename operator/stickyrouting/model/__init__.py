"""Frozen types and names: what is said, never what is done.

Law: no I/O, no clock, no randomness, no third-party import but msgspec. Everything that crosses an edge
(custom resource, desired state, report, key slot) is parsed here once, into these types.
"""
