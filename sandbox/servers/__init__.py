"""Servers from which the loader fetches: HTTP origins, S3 and a Hugging Face Hub."""
