"""An API server in memory: enough of Kubernetes for the operator's loop, with faults on demand.

Law: it knows no part of the product but the table of kinds. What it answers follows the Kubernetes
documentation ("API Concepts", "Server-Side Apply", "Garbage Collection"); what no test needs is refused,
never faked.
"""
