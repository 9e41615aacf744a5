"""Names: what the platform keeps becomes a tree of directories and files, with numbers and a memory."""
