"""
The HTTP edge, one module a surface: bytes to a typed ask, an answer to bytes.
"""
