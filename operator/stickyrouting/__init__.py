"""Sticky Routing: keeps each user session on the pod that holds its state, while pods come and go.

Imports go one way: ``controller`` → ``apply`` → ``kube`` and ``agent`` → ``watch | haproxy | metrics`` →
``planner | render`` → ``model``. Each package opens with its law; import-linter enforces them.
"""
