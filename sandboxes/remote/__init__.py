"""What the adapters of remote providers share: the runner's keeper inside the sandbox, and the contract over a machine.

An adapter supplies a `Machine` (run a command, open a process's streams, move files); `RemoteSandbox` makes the contract
of it. The runner lives apart from every stream: a stream that breaks is opened again and loses nothing.
"""
