"""The laboratory of the system tests: network namespaces, faults, a capture, the daemon under test.

Standard library only. Nothing here judges; the test_*.py files beside this folder do.
"""
