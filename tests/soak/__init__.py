"""The chaos of ``haproxy/test_fleet_chaos.py`` for an hour and 100,000 sessions.

Law: no rules of its own. What a short run does not check, a long one does not either.
"""
