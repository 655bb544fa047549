"""Worker nodes: one small kubelet that runs pods as processes on this machine."""
