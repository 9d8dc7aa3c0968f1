"""The embedder in the words of other libraries, one file each.

Each needs the library that it is for, and nothing else here does.
"""
