"""What is compared: for each, how its servers are started and how a client calls them."""
