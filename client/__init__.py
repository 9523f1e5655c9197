"""The client library, which applications import and which the command line (``cli``) is built on.

Of covey, it imports ``api``, ``identity``, ``proto``, ``quorum`` and ``ring`` only. gRPC is loaded when a client first
needs it.
"""
