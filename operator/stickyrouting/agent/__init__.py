"""The sidecar of each proxy's HAProxy: observe, plan, execute, report.

Law: it applies what the desired state says and has no say in policy. It imports neither kopf nor the kubernetes
client, starts from mounted files alone and never goes back to an older version.
"""
