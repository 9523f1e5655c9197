"""The ``covey`` command, for people and for programs that would rather run a command than link a library.

One file per theme of commands (``up``, ``data``, ``interactive``, ``bulk``, ``cluster``, ``logs``); each has
``register``, which adds its commands to the app that ``main`` builds. Commands return their exit code and
raise errors; ``main`` alone turns errors into a line on stderr and a code (``exits``). Heavy libraries are
imported in the bodies that need them, so that ``covey get`` starts fast.

stdout carries what was asked for; everything else (progress, notes, complaints) goes to stderr.
"""
