"""List and watch over aiohttp: bookmarks, 410, resume, caches that never keep ghosts.

Law: reads only. Used by the operator and the agent alike, so neither kopf nor the kubernetes client is
imported.
"""
