"""Decisions: what should be, and why. One file each.

Law: pure functions of their arguments. Time comes in as a parameter; every decision carries its reason.
"""
