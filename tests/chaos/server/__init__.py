"""What the event path withstands: real processes under load, killed, cut from power, out of room (``make chaos``).

Black box: everything goes through HTTP and the command line. Only at the end are the event ids in the lake read, to
name what was lost or counted twice.
"""
