"""What people who build on Netra test with: a running server, sockets, the laws, and a layer that fails.

docs/testing.md shows how. Nothing that serves users imports this package.
"""
