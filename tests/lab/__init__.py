"""A Kubernetes cluster to run on: ``python -m lab up | down | status | kubectl | images | fault``.

Law of this package: it makes clusters and images and breaks parts of them on request; it knows nothing about sticky
routing. Three providers stand behind the interface of ``provider.py``; nobody outside asks which one it is. Whatever
``up`` made, ``down`` removes, and the process table (not a file) says what is up. Traffic uses 198.18.0.0/15 only.
"""
