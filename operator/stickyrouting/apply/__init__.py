"""Effects: observe everything, execute the plan, write the status once.

Law: no decision is taken here; what to do comes from ``planner``, what to write from ``render``.
"""
