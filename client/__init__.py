"""The library that applications import, and the shell commands' side of the cluster.

Only ``ring``, ``identity`` and ``proto`` are known here; gRPC is loaded when a client first needs it.
"""
