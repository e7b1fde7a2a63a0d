"""One video, restored in pieces by many machines, and joined: the very file that one gives.

`stream.cluster.plan` says where pieces begin and end, by the file alone; `part` restores one, and
`whole` joins all. With Ray, `driver` hands them to the nodes of a cluster (`engine`, or `local` for
one of this machine's own), where `worker` restores them.
"""
