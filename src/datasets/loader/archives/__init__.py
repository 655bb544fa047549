"""Archives: each format is read into members.

It knows neither where they come from nor where they go.
"""
