"""The one table of metric names, types and help texts.

Law: a metric exists only if it stands here. Never a label per session.
"""
