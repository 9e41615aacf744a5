"""Bytes: the local disk, the ranged reader, drafts, and the operations that bring them up."""
