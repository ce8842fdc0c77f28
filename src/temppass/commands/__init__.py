"""
The commands of the client, one module a topic. cli.py imports a module when its command is called.
"""
