"""The only importer of kopf: handlers that wake tasks, the loop's tasks, sweep, settings, main.

Law: a handler only translates. It awaits one call and holds no logic.
"""
