"""Names and numbers that haproxy.cfg and those who talk to HAProxy must agree on."""

SESSIONS = "sess"
"""Stick table: session id → server id (gpt0), or one of the marks below; replicated to the agent."""
FENCE = "fence"
"""A key of that table that is no session: what it is set to comes back after all that happened before."""
WHOLE = b"whole-407"
"""Another one: the table misses no session that lives. By its checksum it is in the last part of the map to be told."""
GAP = b"gap"
"""Another one, for as long as sessions may live that the table misses."""
OVER = "over"
"""Stick table: ids of sessions that the application has just ended, told to the agent, who writes nothing into it: its
own word of a session may cross the end and take its place in the other table before HAProxy has told of it.
"""
CONTROL = "ctl"
"""Stick table of the agent's own words; local to each worker, so that a new worker is not ready by inheritance."""
LIVE = "live"
"""Stick table: requests and WebSockets in flight per session."""
IDS = "ids"
"""Stick table: server id → server; finds a server by its id without walking the list."""
TALLY = "own/tally"
"""Stick table: what rules count, by its word; local to each worker, until it ends."""
TALLY_SIZE = 64
BIRTH_TALLY = "birth"
"""In there: a request without a session, tracked under this word unless another one already fits. ``gpc1`` of all words
together is how many of these HAProxy could not serve.
"""
APP = "app"
FALLBACK = "fallback"
TRAFFIC = "fe"
METRICS = "metrics"
PLACES = "places"
"""Resolvers section: its only name server is the agent, which answers a birth that waits when there is room."""

PEERS = "pp"
LOCAL_PEER = "local"
AGENT_PEER = "agent"

READY_KEY = "ready"
STOPPING_KEY = "1"
SIGNING_KEY = "signing"
GATED_KEY = "gated"
SPARE_KEY = "spare"
BIRTH_SLOTS = 256
"""Numbers that a birth draws from; as many as the planner's slots (a test holds the two together)."""

TLS = "txn.tls"
"""Whether the client came by TLS: to this proxy, or to a trusted one before it."""

SESSION_ID_LENGTH = 32
"""Ten digits of the time of birth and 22 characters of base64url (132 bits)."""
MAC_LENGTH = 16
HINT_LENGTH = 10
"""Characters of a hint that tell servers apart; 8 more hide the server's id."""
HINT_KEY = "hint.key"
"""In ``keys.map``: what the ids in hints are hidden with."""
HIGHEST_KEY = "highest"
"""In ``id2hint.map``: the highest server id that the worker was told of; ids only grow, and a higher one is newer."""

NEWBORN = 1 << 31
"""Added to a server id: the client has not come back with its cookie yet, or: look once."""
UNBIND = 4294967295
"""Value of a session that is bound anew by its next request and keeps its id."""
ENDED = 4294967294
"""Value of a session that is over: its cookie is worth nothing, its client gets a new id."""
SERVER_ID_MASK = NEWBORN - 1
MAX_SERVER_ID = NEWBORN - 3
"""The two ids above it would be taken for ``ENDED`` and ``UNBIND`` without their highest bit."""


def server_name(server_id: int) -> str:
    """Return the name of a server of backend ``app``; the same on every proxy."""
    return f"s{server_id}"
