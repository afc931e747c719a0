"""Programs that the demo and the cluster tests run against the product: a shop that keeps its carts in memory
and a verifier.

Law: nothing here imports stickyrouting. The verifier judges the product only from the answers it gets and
from its own direct probes of the pods, so that an error of ours cannot hide itself.
"""
