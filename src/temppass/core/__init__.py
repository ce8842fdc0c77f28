"""
The rules: values in, values out. Nothing here waits, reads a clock, draws a random number, logs or opens a file.
"""
