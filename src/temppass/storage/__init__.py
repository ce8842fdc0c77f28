"""
Adapters of the port in store.py, one a database. Only wiring.py imports them.
"""
