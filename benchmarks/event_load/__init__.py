"""Load for the event path: a cheap generator, the real server with an experiment, and peers of the server."""
