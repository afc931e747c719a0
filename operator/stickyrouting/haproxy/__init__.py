"""HAProxy's languages: runtime API, peers protocol, statistics. Sans-I/O codecs and thin asyncio transports.

Law: knows no Kubernetes and no policy; bytes in, values out.
"""
