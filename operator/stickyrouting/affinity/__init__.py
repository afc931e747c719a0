"""The affinity map: which session is bound to which server, how copies of it merge, how many sessions each has.

Law: pure. No I/O, no clock: the time comes in, in seconds of one monotonic clock.
"""
