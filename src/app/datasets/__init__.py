"""The data set actions, one module each, with their Jobs and the index of data sets."""
