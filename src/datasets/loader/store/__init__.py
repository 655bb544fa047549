"""What the loader keeps on the volume beside the files: versions, loads, journals and locks."""
