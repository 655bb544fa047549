"""Jobs in the namespace of the charm: what they run, how far they are, what their pods say."""
