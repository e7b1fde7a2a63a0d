"""Video that comes or goes by a pipe: read once, from its beginning to its end, and written so.

ends     what is read from and written to, and how a wait for the other side ends
form     what goes through: Y4M, NUT, Matroska or raw video
source   frames, and packets of other streams, of what cannot be sought in
sink     frames, encoded and put beside the other streams at once
relay    the job
"""
