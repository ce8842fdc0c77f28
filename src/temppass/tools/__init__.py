"""
The tools: what the command line adds to the client library. They may be used without it, and send nothing themselves.
"""
