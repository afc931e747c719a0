"""Agreements between files that no compiler sees: CRD and model, chart and manifests, layout and its rules.

Law: nothing here needs a cluster. What is rendered is compared with what is checked in, never written by a test.
"""
