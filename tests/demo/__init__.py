"""The demo: a real cluster, the operator, a shop, a verifier's traffic, and things that go wrong one after
another.

Law: the demo only does what a user could do (kubectl, helm, HTTP) and reports what the verifier saw.
``verdict`` is pure; every call to the cluster goes through ``kube``.
"""
