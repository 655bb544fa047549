"""The data set actions, a module each, and what they share.

The Jobs, what is observed of them, and the index.
"""
