"""Worker nodes: one small kubelet that runs pods as processes of this machine."""
