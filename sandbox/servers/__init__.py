"""Servers that the loader fetches from: HTTP origins, S3, a Hugging Face Hub."""
