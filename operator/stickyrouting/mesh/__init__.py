"""The links between agents: what one hears, all hear. Sans-I/O codec, thin asyncio transport; knows no Kubernetes.

Law: the mesh moves entries of the affinity map and judges none of them.
"""
