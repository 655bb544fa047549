"""The loader's data on the volume beside the files: versions, loads, journals and locks."""
