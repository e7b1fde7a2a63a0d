"""Video files in: opened, demultiplexed onto one clock, decoded, deinterlaced."""
