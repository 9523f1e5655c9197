"""The ``covey`` command, for people and for programs that run a command instead of importing a library.

``main`` builds the app and converts errors to messages and exit codes (``exits``). Each module that defines commands
has ``register``, which adds them to the app; commands return their exit code and raise errors. Heavy libraries are
imported in the functions that need them, so that ``covey get`` starts fast.

stdout carries results only; progress, notes and errors go to stderr.
"""
