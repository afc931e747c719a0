"""The ``native`` provider: one control plane and three nodes on this machine, each a set of Linux namespaces.

Law: the machine ``cp`` holds etcd, API server, controller manager, scheduler, DNS and registry; nodes ``n1`` to ``n3``
start inside its pid namespace, so that the end of cp's first process ends every process, mount, link and rule of the
cluster. Host traces are one veth, its routes, one blackhole route and a cgroup sub-tree; ``cleanup`` removes these.
"""
