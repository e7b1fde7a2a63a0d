"""Restoring from Python, frame by frame: one in, one out, in their order.

arrays    NumPy arrays, tensors and PyAV's frames, to frames of ours and back
restore   `stream.restore`: what any program has or makes
live      `stream.open_live`: what a camera shows
"""
