"""Texts and manifests: Kubernetes objects as dicts, haproxy.cfg as text. One file per object or section.

Law: pure functions of frozen types; the same input gives the same bytes. Nothing is decided here.
"""
