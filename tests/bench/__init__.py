"""Figures for the README: from the demo's report, and ratios of the proxy against plain HAProxy.

Law: absolute rates of one machine say little, so speed is published as a ratio of alternating runs.
"""
