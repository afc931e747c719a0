"""Figures for the README: what stickiness costs per request, and what the shared session map can carry.

Law: configurations that are compared run in turn on one machine; every figure is published with its spread, and
with a word of doubt when the machine did other work as well.
"""
