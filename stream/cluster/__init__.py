"""One video, restored in pieces by many machines, and joined: the very file that one gives.

`stream.cluster.plan` says where pieces begin and end, by the file alone; `part` restores one, and
`whole` joins all.
"""
