"""What both ends of the wire share: a node and its peers, a node and its clients. See docs/architecture.md."""
