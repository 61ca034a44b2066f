"""Does every method keep its promise? Simulations with the engine's own functions, and the page that they write.

``make calibration`` runs all of them in full and writes ``docs/calibration.md``; the tests here run the same
functions with fewer repetitions.
"""
