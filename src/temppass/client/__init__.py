"""
The client: what back ends and operators use to speak with a temporary pass service, this one or the vendor's.
"""
